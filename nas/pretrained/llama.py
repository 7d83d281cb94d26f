"""A LLaMA-like model as it was read, whatever it lay in."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_spaces.errors import DamagedFileError, HwnasError, InvalidInputError
from search_spaces.families.decoder import CACHE_FORMAT, Decoder, decoder, kv_heads_from
from search_spaces.space.space import SearchSpace

Arrays = Mapping[str, NDArray[Any]]
UNTRAINED = ("float32", "w8a8d-g32", "w4a8d-g32", "w4a8d-g64", CACHE_FORMAT)
"""Schemes that do without training: 2 bits do not, nor does one scale for all activations, which outliers rule."""

PARTS = {  # of a layer: our name, and that of Hugging Face's transformers
    "attention/norm": "input_layernorm",
    "attention/queries": "self_attn.q_proj",
    "attention/keys": "self_attn.k_proj",
    "attention/values": "self_attn.v_proj",
    "attention/project": "self_attn.o_proj",
    "mlp/norm": "post_attention_layernorm",
    "mlp/gate": "mlp.gate_proj",
    "mlp/up": "mlp.up_proj",
    "mlp/down": "mlp.down_proj",
}


@dataclass(frozen=True)
class Chat:
    """How a model is spoken to.

    Attributes:
        template: Of Jinja, as transformers has it: makes text of messages.
        begin: The token that stands before everything; empty: none.
        turn_end: The token that ends an answer.
    """

    template: str
    begin: str
    turn_end: str


@dataclass(frozen=True, eq=False)
class Llama:
    """A model.

    Attributes:
        name: Of its file or folder.
        shape: Its sizes; the context is that which it was trained on.
        weights: Float32 by `NODE/weight` of a decoder.
        tokenizer: What `tokenizer.json` holds.
        end: The token that stands between two texts.
        digest: SHA-256 of its files, 16 hexadecimal digits.
        chat: How it was trained to be spoken to; None where nothing says so.
        left_out: Layers, from 1, in the order in which smaller networks leave them out; none: see `decoder`.
    """

    name: str
    shape: Decoder
    weights: Arrays
    tokenizer: str
    end: str
    digest: str
    chat: Chat | None = None
    left_out: tuple[int, ...] = ()

    def space(self, context: int, formats: tuple[str, ...] = ()) -> SearchSpace:
        """Return what can be chosen of it, see `llama_space`."""
        return llama_space(self.name, self.shape, self.digest, context, formats, self.left_out)

    def describe(self) -> dict[str, Any]:
        """Return plain values of which `llama_space` makes the space again."""
        return {"name": self.name, "digest": self.digest, "shape": asdict(self.shape), "left_out": list(self.left_out)}


def llama_space(
    name: str,
    shape: Decoder,
    digest: str,
    context: int,
    formats: tuple[str, ...] = (),
    left_out: Sequence[int] = (),
) -> SearchSpace:
    """Return what can be chosen of a model without training: depth, heads, inner widths a little, schemes freely.

    Args:
        name: Of the model, for messages.
        shape: Its sizes.
        digest: Of its files; a part of the space's name.
        context: Tokens that networks take.
        formats: Schemes to choose from; none: those of `UNTRAINED`.
        left_out: See `Llama`.

    Raises:
        InvalidInputError: If it was trained on a shorter context, or a format or the order of layers does not fit.
    """
    if context > shape.context:
        raise InvalidInputError(f"'{name}' was trained on {shape.context} tokens; a context of {context} is longer")
    widths, offered = (shape.mlp_width * 3 // 4, shape.mlp_width), formats or UNTRAINED
    heads = kv_heads_from(shape.kv_heads * 3 // 4, shape, offered)
    return decoder(
        f"llama-{digest[:8]}",
        replace(shape, context=context),
        depths=tuple(sorted({max(2, shape.depth - n) for n in range(3)})),
        kv_heads=sorted({heads[0], heads[-1]}),
        mlp_widths=widths if widths[0] % 64 == 0 else widths[1:],
        formats=offered,
        order=left_out,
    )


def weights_from(tensors: Arrays, shape: Decoder, origin: str) -> dict[str, NDArray[np.float32]]:
    """Return the weights of a decoder from tensors with the names of Hugging Face's transformers.

    Raises:
        DamagedFileError: If one is missing or of another shape.
    """
    heads, kv_heads = (n * shape.head_depth for n in (shape.kv_heads * shape.group, shape.kv_heads))
    width, inner = shape.width, shape.mlp_width
    rows = {
        "queries": heads,
        "keys": kv_heads,
        "values": kv_heads,
        "project": width,
        "gate": inner,
        "up": inner,
        "down": width,
    }
    columns = {"project": heads, "down": inner}
    wanted: dict[str, tuple[str, tuple[int, ...]]] = {
        "embedding/table": ("model.embed_tokens", (shape.vocabulary, width)),
        "head/norm": ("model.norm", (width,)),
    }
    if not shape.is_tied:
        wanted["head/scores"] = ("lm_head", (shape.vocabulary, width))
    for layer in range(shape.depth):
        for ours, theirs in PARTS.items():
            part = ours.split("/")[1]
            size: tuple[int, ...] = (rows[part], columns.get(part, width)) if part in rows else (width,)
            wanted[f"layer{layer + 1}/{ours}"] = (f"model.layers.{layer}.{theirs}", size)
    found = {}
    for ours, (theirs, size) in wanted.items():
        tensor = tensors.get(f"{theirs}.weight")
        if tensor is None or tensor.shape != size:
            got = "is missing" if tensor is None else f"has shape {tensor.shape}"
            raise DamagedFileError(f"'{origin}': the tensor {theirs}.weight of shape {size} {got}; fetch the model again")
        found[f"{ours}/weight"] = np.ascontiguousarray(tensor, np.float32)
    return found


def read_llama(path: Path) -> Llama:
    """Read a `.gguf` file, or a folder with `config.json`, `*.safetensors` and `tokenizer.json`.

    Raises:
        InvalidInputError: If there is none, or it is no model of this kind.
        DamagedFileError: If something of it is missing.
        NotReadyError: If a package that reads it is missing.
    """
    if path.is_dir():
        from nas.pretrained.folder import read_folder

        return _checked(path, read_folder)
    if path.suffix != ".gguf" or not path.is_file():
        raise InvalidInputError(f"'{path}' is no .gguf file, nor a folder with config.json")
    from nas.pretrained.gguf import read_gguf

    return _checked(path, read_gguf)


def _checked(path: Path, read: Callable[[Path], Llama]) -> Llama:
    """Return a model that can be computed with."""
    try:
        model = read(path)
        used = _greatest_token(json.loads(model.tokenizer))
    except HwnasError:
        raise
    except Exception as error:  # whatever odd contents make of the readers
        what = f"{type(error).__name__}: {error}"
        raise DamagedFileError(f"'{path}' does not hold what such models hold ({what}); fetch the model again") from error
    shape = model.shape
    if not 0 < shape.epsilon < 1 or not 1 < shape.base < math.inf or shape.depth < 2:
        raise InvalidInputError(
            f"'{path}': epsilon {shape.epsilon:g}, base of rotary positions {shape.base:g}, {shape.depth} layers: not as "
            "such models have them, of two layers and more"
        )
    if wrong := [name for name, array in model.weights.items() if not np.isfinite(array).all()]:
        raise InvalidInputError(f"'{path}': the weight of '{wrong[0]}' holds NaN or infinity")
    if used >= shape.vocabulary:
        raise InvalidInputError(
            f"'{path}': its tokenizer has a token {used}, its table {shape.vocabulary} rows: they are not of one model"
        )
    return model


def _greatest_token(tokenizer: Mapping[str, Any]) -> int:
    added = [each["id"] for each in tokenizer.get("added_tokens") or []]
    return int(max([*tokenizer["model"]["vocab"].values(), *added]))
