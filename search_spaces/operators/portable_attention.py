"""Causal attention with a cache by operators of ONNX alone (opset 23), for runtimes without GroupQueryAttention."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from search_spaces.lowering import Writer
    from search_spaces.operators.causal_attention import CausalAttention

MASK, POSITIONS = "attention/mask", "attention/positions"


def write_portable(writer: "Writer", node: "CausalAttention") -> None:
    """Write an attention; keys and values that are kept come back with the new ones behind them.

    Its mask is written out: whether new tokens of Attention's `is_causal` stand behind those that are kept is a matter of
    the version of ONNX.
    """
    writer.require_opset(23)
    queries, keys, values = _split(writer, node)
    kept = [state.name for state in node.states]
    _write_mask(writer, queries, kept[0] if kept else "")
    tables = node.rotary_constants(writer)
    turned = [
        writer.operator("RotaryEmbedding", [heads, *tables, POSITIONS], f"{heads}/turned") for heads in (queries, keys)
    ]
    seen = [turned[1], values]
    for i, each in enumerate(node.inner):
        scale = writer.constant(f"{each.name}/scale", np.float32(writer.weights[f"{each.name}/scale"]))
        zero = writer.constant_once("attention/zero", np.int8(0))
        seen[i] = writer.operator("QuantizeLinear", [seen[i], scale, zero], f"{each.name}/integers")
    if kept:
        seen = [
            writer.operator("Concat", [before, new], f"{before}/present", axis=2)
            for before, new in zip(kept, seen, strict=True)
        ]
    for i, each in enumerate(node.inner):
        taken = [seen[i], f"{each.name}/scale", "attention/zero"]
        seen[i] = writer.operator("DequantizeLinear", taken, f"{each.name}/floats")
    means = writer.operator("Attention", [turned[0], *seen, MASK], f"{node.name}/heads")
    behind = writer.operator("Transpose", [means], f"{node.name}/tokens", perm=[0, 2, 1, 3])
    joined = writer.constant_once(f"attention/joined/{node.shape[-1]}", np.array([0, 0, node.shape[-1]]))
    writer.operator("Reshape", [behind, joined], node.name)


def _split(writer: "Writer", node: "CausalAttention") -> list[str]:
    """Return the names of queries, keys and values by heads, `(n, heads, tokens, depth)`."""
    taken = list(node.inputs)
    if pack := writer.packs.get(taken[0]):
        taken = [f"{node.name}/{part}/taken" for part in ("queries", "keys", "values")]
        sizes = writer.constant(f"{node.name}/sizes", np.array([each.shape[-1] for each in pack.members]))
        writer.several("Split", [pack.name, sizes], taken, axis=-1)
    split = []
    for source, part, n_heads in zip(
        taken, ("queries", "keys", "values"), (node.heads, node.kv_heads, node.kv_heads), strict=True
    ):
        shape = writer.constant_once(f"attention/heads/{n_heads}/{node.depth}", np.array([0, -1, n_heads, node.depth]))
        heads = writer.operator("Reshape", [source, shape], f"{node.name}/{part}/split")
        split.append(writer.operator("Transpose", [heads], f"{node.name}/{part}/heads", perm=[0, 2, 1, 3]))
    return split


def _write_mask(writer: "Writer", queries: str, kept: str) -> None:
    """Write the positions of new tokens, `(1, tokens)`, and which tokens each of them sees, once for all layers."""
    if not writer.is_first(MASK):
        return
    zero, one = writer.constant("attention/0", np.int64(0)), writer.constant("attention/1", np.int64(1))

    def length(tensor: str) -> str:
        n = writer.operator("Shape", [tensor], f"{tensor}/length", start=2, end=3)
        return writer.operator("Squeeze", [n], f"{tensor}/n")

    before = length(kept) if kept else zero
    total = writer.operator("Add", [before, length(queries)], "attention/total")
    new = writer.operator("Range", [before, total, one], "attention/new")
    seen = writer.operator("Range", [zero, total, one], "attention/seen")
    first, second = (writer.constant(f"attention/axis_{i}", np.array([i])) for i in (0, 1))
    writer.operator("Unsqueeze", [new, first], POSITIONS)
    rows = writer.operator("Unsqueeze", [new, second], "attention/rows")
    writer.operator("GreaterOrEqual", [rows, seen], MASK)
