"""An exported folder as such: written all or nothing, with the sums of its files."""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latency_tables.timing.measurement import Measurement
from search_spaces.errors import InvalidInputError

SUMS = "SHA256SUMS"  # of all other files of the folder, as `sha256sum -c` takes it


@dataclass(frozen=True)
class Exported:
    """An exported folder.

    Attributes:
        folder: Where it is.
        verification: What `parity.json` holds.
    """

    folder: Path
    verification: Mapping[str, Any]


def timed(content: bytes, time_file: Callable[[bytes], Measurement] | None) -> dict[str, float]:
    """Return what timing a file adds to the facts of a network; nothing where it cannot be timed here."""
    if time_file is None:
        return {}
    found = time_file(content)
    return {"file_latency_ms": found.ms, "file_latency_spread": found.spread}


@contextmanager
def drafted(folder: Path) -> Iterator[Path]:
    """Give a draft to write files into; it becomes the folder, with their sums, unless something is raised.

    Raises:
        InvalidInputError: If the folder cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise InvalidInputError(f"cannot write to '{folder}': {error.strerror}") from error
    try:
        yield draft
        checksums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(draft.iterdir())}
        (draft / SUMS).write_text("".join(f"{digest}  {name}\n" for name, digest in checksums.items()))
        for path in (draft, *draft.iterdir()):
            path.chmod(0o755 if path.is_dir() else 0o644)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def check_folder(folder: Path) -> None:
    """Raise `InvalidInputError` if something is in the way of an exported folder."""
    if folder.exists() and not folder.is_dir():
        raise InvalidInputError(f"'{folder}' exists already and is no folder; choose another one")
    if folder.exists() and any(folder.iterdir()):
        raise InvalidInputError(f"'{folder}' exists already and is not empty; choose another folder, or remove it first")
