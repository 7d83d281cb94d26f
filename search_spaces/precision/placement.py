"""Placement of quantizers. No other place decides it.

Rules, for a block that computes in integers:

- each of its inputs is converted once, to 8 bits, if it arrives in float32; branch and shortcut take the same tensor;
- every tensor that an operator computed is quantized, but not between an operator and its ReLU, not between two operators
  that stay in float32, and not what leaves the network or, from an operator that gives float32, the block;
- what cannot be negative, as after a ReLU of its block, is unsigned (zero point 0), all else signed (128);
- an operator that only moves data, as a pooling by maximum does, gives the very integers that it takes: the quantizer
  behind it shares the scale of the one before;
- inside the block a tensor has the block's activation format, asymmetric where the block is and the tensor signed; what
  leaves the block and what an addition takes has 8 bits and is symmetric;
- weights and biases are not nodes: those of a `Conv` or `Linear` have the weight format of its precision, and the bias
  is int32 at the scale of input times weight.

A block that computes in a minifloat takes and gives float32; what its layers with weights and its attention take is rounded
to the minifloat, what its additions take is not. A float32 block has no quantizers, nor has one whose weights are in
groups: its layers round what they take themselves, or not at all.

Source: the kernels of onnxruntime's CPU provider, measured; see docs/decisions/0002-quantizer-placement.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from search_spaces.graph.graph import consumers
from search_spaces.graph.node import Node
from search_spaces.operators.quantize import Quantize
from search_spaces.precision.formats import NumberFormat


def place_quantizers(block: Sequence[Node], sources: Sequence[NumberFormat]) -> tuple[Node, ...]:
    """Return the block with explicit `Quantize` nodes.

    Args:
        block: Nodes of one block, its inputs first and its result last, all of one precision.
        sources: Format in which each input arrives: `FLOAT32`, or `INT8` when the block before has quantized it.

    Returns:
        The same nodes, taking quantized tensors where there are such.
    """
    precision = block[0].precision
    if precision.is_float32 or precision.is_grouped:
        return tuple(block)
    consumers_of = consumers(block)
    arriving = dict(zip((node.name for node in block if not node.inputs), sources, strict=True))
    quantized = {name: name for name, source in arriving.items() if precision.is_static and not source.is_float32}
    formats = {name: arriving[name] for name in quantized}
    roots: dict[str, str] = {}  # of a quantizer that shares a scale: the one whose scale it is
    never_negative: set[str] = set()
    floats: set[str] = set()  # tensors that are held in float32 anyway, whatever is quantized behind them
    placed: list[Node] = []
    for node in block:
        rounded = quantized
        if node.stays_float:
            rounded = {name: q for name, q in quantized.items() if name not in floats}
        elif not precision.is_static and node.macs() == 0:
            rounded = {}
        placed.append(replace(node, inputs=tuple(rounded.get(n, n) for n in node.inputs)) if rounded else node)
        if gives_float(node) or (node.name in arriving and node.name not in quantized):
            floats.add(node.name)
        if node.nonnegative([name in never_negative for name in node.inputs]):
            never_negative.add(node.name)
        if node.name in quantized or not _is_quantized(node, consumers_of[node.name]):
            continue
        tensor_format = _tensor_format(node, _consumers_behind(node, consumers_of), signed=node.name not in never_negative)
        before = quantized.get(node.inputs[0], "") if node.moves_data else ""
        before = roots.get(before, before)
        quantizer = Quantize(
            name=quantizer_name(node),
            inputs=(node.name,),
            shape=node.shape,
            precision=precision,
            format=formats.get(before, tensor_format),
            shares=before,
        )
        placed.append(quantizer)
        quantized[node.name] = quantizer.name
        roots |= {quantizer.name: before} if before else {}
        formats[quantizer.name] = quantizer.format
    return tuple(placed)


def gives_float(node: Node) -> bool:
    """Return True if the result of an operator is held in float32 in a block of integers, too."""
    return node.stays_float or node.gives_raw


def quantizer_name(node: Node) -> str:
    """Return the name of the quantizer behind an operator of its own block."""
    return f"{node.name}/quantize"


def _is_quantized(node: Node, consumers_of: Sequence[Node]) -> bool:
    if node.precision.is_minifloat:
        return any(consumer.macs() > 0 for consumer in consumers_of)
    if node.outputs[0].dtype != "float32":
        return False
    if gives_float(node) or not node.inputs:
        return any(not (consumer.stays_float or consumer.takes_raw) for consumer in consumers_of)
    return not (consumers_of and all(consumer.takes_raw for consumer in consumers_of))


def _consumers_behind(node: Node, consumers_of: Mapping[str, Sequence[Node]]) -> list[Node]:
    """Return the consumers of a tensor, looked for behind what only moves its values; none if they leave the block."""
    found: list[Node] = []
    for consumer in consumers_of[node.name]:
        behind = _consumers_behind(consumer, consumers_of) if consumer.moves_data else [consumer]
        if not behind:
            return []
        found += behind
    return found


def _tensor_format(node: Node, consumers_of: Sequence[Node], *, signed: bool) -> NumberFormat:
    inside = node.precision.activations
    if inside.is_minifloat:
        return inside
    if not consumers_of or any(consumer.takes_8_bits for consumer in consumers_of) or node.gives_8_bits:
        return NumberFormat(8, signed)
    return NumberFormat(inside.bits, signed, asymmetric=signed and inside.asymmetric)
