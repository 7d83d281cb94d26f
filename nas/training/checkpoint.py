"""Tensors and JSON in one safetensors file, written whole or not at all."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from nas.events.files import write_atomically
from nas.events.renamed import renamed_tensors, renamed_training
from search_spaces.errors import DamagedFileError


def save_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors, and facts as JSON into the header, with a digest of both."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(facts)
    write_atomically(path, save(contiguous, metadata={"hwnas": text, "digest": _digest(contiguous, text)}))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote.

    The file is opened once (`safetensors.safe_open` opens it twice), so one that is replaced meanwhile is read as it was.

    Raises:
        DamagedFileError: If the file is damaged or not one of ours.
    """
    try:
        content = path.read_bytes()
        tensors = load(content)  # checks the bounds of the header too
        metadata = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")]).get("__metadata__", {})
        if metadata["digest"] != _digest(tensors, metadata["hwnas"]):
            raise ValueError("its content is not what was written")
        return renamed_tensors(tensors), renamed_training(json.loads(metadata["hwnas"]))
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise DamagedFileError(
            f"'{path}' is damaged or not of hwnas ({error}); if a run made it, delete it to start that stage anew"
        ) from error


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    content = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        content.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}".encode())
        content.update(tensors[name].numpy().tobytes())
    return content.hexdigest()[:16]
