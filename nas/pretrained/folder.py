"""Folders of LLaMA-like models, as Hugging Face's transformers has them."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.data.tokenizer import END
from nas.events.files import file_digest
from nas.pretrained.llama import Chat, Llama, weights_from
from search_spaces.errors import DamagedFileError, InvalidInputError
from search_spaces.families.decoder import Decoder

KINDS = ("LlamaForCausalLM", "MistralForCausalLM")
PLAIN = {
    "rope_scaling": None,
    "partial_rotary_factor": 1.0,
    "attention_bias": False,
    "mlp_bias": False,
    "sliding_window": None,
    "hidden_act": "silu",
}


def read_folder(folder: Path) -> Llama:
    """Read a folder with `config.json`, `tokenizer.json` and weights in float32, bfloat16 or float16.

    Raises:
        InvalidInputError: If it is of another architecture.
        DamagedFileError: If a file or a tensor is missing, or damaged.
    """
    config = _json(folder / "config.json")
    kinds = config.get("architectures") or ["none"]
    if kinds[0] not in KINDS:
        raise InvalidInputError(f"'{folder}' is of the architecture {kinds[0]}; those that are read: {', '.join(KINDS)}")
    if odd := [key for key, value in PLAIN.items() if config.get(key, value) != value]:
        raise InvalidInputError(f"'{folder}': {odd[0]} is {config[odd[0]]}, which is not read; it must be {PLAIN[odd[0]]}")
    rotary = config.get("rope_parameters") or {}  # as transformers 5 has them
    if (kind := rotary.get("rope_type", "default")) != "default":
        raise InvalidInputError(f"'{folder}': its rotary positions are scaled ({kind}), which is not read")
    try:
        heads = int(config["num_attention_heads"])
        kv_heads = int(config.get("num_key_value_heads") or heads)
        shape = Decoder(
            vocabulary=int(config["vocab_size"]),
            width=int(config["hidden_size"]),
            depth=int(config["num_hidden_layers"]),
            kv_heads=kv_heads,
            group=heads // kv_heads,
            head_depth=int(config.get("head_dim") or config["hidden_size"] // heads),
            mlp_width=int(config["intermediate_size"]),
            context=int(config["max_position_embeddings"]),
            base=float(rotary.get("rope_theta", config.get("rope_theta", 10000.0))),
            epsilon=float(config["rms_norm_eps"]),
            is_tied=bool(config.get("tie_word_embeddings", False)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedFileError(f"'{folder / 'config.json'}' lacks {error}; fetch the model again") from error
    files = _shards(folder)
    tensors = {name: tensor for file in files for name, tensor in _tensors(file).items()}
    weights = weights_from(tensors, shape, str(folder))
    tokenizer = _json(folder / "tokenizer.json")
    if (tokenizer.get("decoder") or {}).get("type") != "ByteLevel":
        raise InvalidInputError(f"'{folder}' has a tokenizer of another kind than bytes in pairs, which alone are read")
    added = [each["content"] for each in tokenizer.get("added_tokens", [])]
    end = END if END in added else _end(folder, added)
    digest = hashlib.sha256("".join(map(file_digest, (folder / "config.json", *files))).encode()).hexdigest()[:16]
    return Llama(folder.name, shape, weights, json.dumps(tokenizer), end, digest, _chat(folder))


def _chat(folder: Path) -> Chat | None:
    """Return how a model is spoken to, by a file of its own or the settings of the tokenizer; None where neither says it."""
    path, own = folder / "tokenizer_config.json", folder / "chat_template.jinja"
    settings = _json(path) if path.exists() else {}
    template = own.read_text(encoding="utf-8") if own.exists() else settings.get("chat_template")
    if isinstance(template, list):  # several by name
        template = next((each["template"] for each in template if each.get("name") == "default"), None)
    begin, end = (_token(folder, f"{name}_token") for name in ("bos", "eos"))
    return Chat(template, begin, end) if template and end else None


def _json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DamagedFileError(f"'{path}' is missing or damaged; fetch the model again") from error
    return content


def _end(folder: Path, added: list[str]) -> str:
    """Return the token at the end of a text."""
    if end := _token(folder, "eos_token") or next(iter(added), ""):
        return end
    raise InvalidInputError(f"'{folder}': tokenizer_config.json names no eos_token")


def _token(folder: Path, name: str) -> str:
    """Return a token that the settings of the tokenizer name; empty where they do not."""
    path = folder / "tokenizer_config.json"
    named = _json(path).get(name) if path.exists() else None
    return str((named.get("content") if isinstance(named, dict) else named) or "")


def _shards(folder: Path) -> list[Path]:
    """Return the files of the weights."""
    index = folder / "model.safetensors.index.json"
    names = sorted(set(_json(index)["weight_map"].values())) if index.exists() else ["model.safetensors"]
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise DamagedFileError(f"'{folder}' lacks {', '.join(missing)}; fetch the model again")
    return [folder / name for name in names]


def _tensors(file: Path) -> dict[str, NDArray[np.float32]]:
    """Return the tensors of a file as float32; NumPy has no bfloat16, which is the upper half of a float32."""
    kinds: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}
    content = file.read_bytes()
    try:
        n = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + n])
        header.pop("__metadata__", None)
        found = {}
        for name, told in header.items():
            begin, end = told["data_offsets"]
            raw = np.frombuffer(content[8 + n + begin : 8 + n + end], kinds[told["dtype"]]).reshape(told["shape"])
            found[name] = (
                (raw.astype(np.uint32) << 16).view(np.float32) if told["dtype"] == "BF16" else raw.astype(np.float32)
            )
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedFileError(f"'{file}' is no whole safetensors file ({error}); fetch the model again") from error
    return found
