"""GGUF files of LLaMA-like models, as llama.cpp has them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.data.tokenizer import END
from nas.events.files import file_digest
from nas.pretrained.llama import PARTS, Chat, Llama, weights_from
from search_spaces.errors import DamagedFileError, InvalidInputError, NotReadyError
from search_spaces.families.decoder import Decoder

NAMES = {  # of a layer's part, by our name
    "attention/norm": "attn_norm",
    "attention/queries": "attn_q",
    "attention/keys": "attn_k",
    "attention/values": "attn_v",
    "attention/project": "attn_output",
    "mlp/norm": "ffn_norm",
    "mlp/gate": "ffn_gate",
    "mlp/up": "ffn_up",
    "mlp/down": "ffn_down",
}
CONTROL = 3  # type of a token that is no text
DIGITS_APART = ("smollm", "starcoder", "refact", "codeshell")  # pre-tokenizers that keep digits apart
WHOLE = (None, "default", "gpt-2")  # those that do not
PLAIN = {"rope.scaling.type": "none", "rope.scale_linear": 1.0, "attention.sliding_window": 0, "expert_count": 0}


def read_gguf(path: Path) -> Llama:
    """Read a GGUF file; weights of any of its types become float32.

    Raises:
        InvalidInputError: If it is of another architecture, or its tokenizer is not of bytes.
        DamagedFileError: If it is cut off, or lacks a tensor.
        NotReadyError: If the package gguf is missing.
    """
    try:
        import gguf
    except ImportError as error:
        raise NotReadyError("a .gguf file needs the package gguf: pip install 'hwnas[gguf]'") from error
    try:
        reader = gguf.GGUFReader(path)
        fields = {name: field.contents() for name, field in reader.fields.items()}
        kind = fields.get("general.architecture")
        if kind != "llama":
            raise InvalidInputError(f"'{path}' is of the architecture '{kind}'; LLaMA-like ones are read")
        tensors = {t.name: np.asarray(gguf.dequantize(t.data, t.tensor_type), np.float32) for t in reader.tensors}
    except (ValueError, KeyError, IndexError, OSError) as error:
        if isinstance(error, InvalidInputError):
            raise
        raise DamagedFileError(f"'{path}' is no whole GGUF file ({error}); fetch it again") from error
    if odd := [name for name, plain in PLAIN.items() if fields.get(f"llama.{name}", plain) != plain]:
        raise InvalidInputError(f"'{path}': llama.{odd[0]} is {fields[f'llama.{odd[0]}']}, which is not read")
    heads = int(fields["llama.attention.head_count"])
    kv_heads = int(fields.get("llama.attention.head_count_kv", heads))
    width = int(fields["llama.embedding_length"])
    shape = Decoder(
        vocabulary=tensors["token_embd.weight"].shape[0],
        width=width,
        depth=int(fields["llama.block_count"]),
        kv_heads=kv_heads,
        group=heads // kv_heads,
        head_depth=int(fields.get("llama.rope.dimension_count", width // heads)),
        mlp_width=int(fields["llama.feed_forward_length"]),
        context=int(fields["llama.context_length"]),
        base=float(fields.get("llama.rope.freq_base", 10000.0)),
        epsilon=float(fields["llama.attention.layer_norm_rms_epsilon"]),
        is_tied="output.weight" not in tensors,
    )
    named = {
        "model.embed_tokens.weight": tensors.get("token_embd.weight"),
        "model.norm.weight": tensors.get("output_norm.weight"),
        "lm_head.weight": tensors.get("output.weight"),
    }
    for layer in range(shape.depth):
        for ours, theirs in PARTS.items():
            tensor = tensors.get(f"blk.{layer}.{NAMES[ours]}.weight")
            if tensor is not None and ours in ("attention/queries", "attention/keys"):
                tensor = in_halves(tensor, shape.head_depth)
            named[f"model.layers.{layer}.{theirs}.weight"] = tensor
    if unread := sorted(set(tensors) - _read(shape)):
        raise InvalidInputError(f"'{path}' has the tensor '{unread[0]}', which is not read: it is no plain LLaMA")
    weights = weights_from({name: tensor for name, tensor in named.items() if tensor is not None}, shape, str(path))
    tokenizer, end = _tokenizer(fields, path)
    return Llama(path.stem, shape, weights, tokenizer, end, file_digest(path)[:16], _chat(fields))


def _read(shape: Decoder) -> set[str]:
    """Return the names of the tensors that are read."""
    layers = {f"blk.{layer}.{name}.weight" for layer in range(shape.depth) for name in NAMES.values()}
    return {"token_embd.weight", "output_norm.weight", "output.weight"} | layers


def _chat(fields: Mapping[str, Any]) -> Chat | None:
    """Return how a model is spoken to; None where a template or the token that ends an answer is not named."""
    template, tokens = fields.get("tokenizer.chat_template"), fields["tokenizer.ggml.tokens"]
    begin, end = (fields.get(f"tokenizer.ggml.{name}_token_id") for name in ("bos", "eos"))
    if not template or end is None:
        return None
    return Chat(template, "" if begin is None else tokens[int(begin)], tokens[int(end)])


def in_halves(weight: NDArray[Any], head_depth: int) -> NDArray[Any]:
    """Return rows of heads whose rotary pairs lie side by side as rows whose pairs lie half a head apart."""
    pairs = weight.reshape(-1, head_depth // 2, 2, weight.shape[1])
    return pairs.swapaxes(1, 2).reshape(weight.shape)


def _tokenizer(fields: dict[str, Any], path: Path) -> tuple[str, str]:
    """Return the tokenizer as `tokenizer.json` and the token between two texts."""
    if fields.get("tokenizer.ggml.model") != "gpt2":
        raise InvalidInputError(f"'{path}' has a tokenizer of another kind than bytes in pairs, which alone are read")
    tokens = fields["tokenizer.ggml.tokens"]
    control = [i for i, kind in enumerate(fields["tokenizer.ggml.token_type"]) if kind == CONTROL]
    split: dict[str, Any] = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    if (kind := fields.get("tokenizer.ggml.pre")) not in (*WHOLE, *DIGITS_APART):
        raise InvalidInputError(f"'{path}' splits text in the way of '{kind}', which is not read")
    if kind in DIGITS_APART:
        split = {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, split]}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i, "content": tokens[i], **flags} for i in control],
        "normalizer": None,
        "pre_tokenizer": split,
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": [merge.split(" ", 1) for merge in fields["tokenizer.ggml.merges"]],
        },
    }
    end = END if END in tokens else tokens[int(fields["tokenizer.ggml.eos_token_id"])]
    return json.dumps(content), end
