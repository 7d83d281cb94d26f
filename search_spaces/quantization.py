"""Where quantizers sit. No other place decides it.

Rules, for a block that computes in integers (float32 blocks get none):

- its input is converted once, to 8 bits, if the block before gave float32; branch and shortcut take the same tensor;
- every tensor that an operator computed is quantized, but not between an operator and its ReLU, and not what leaves the
  network; after a ReLU the integers are unsigned (zero point 0), otherwise signed (zero point 128);
- inside the block a tensor has the block's activation bits; what leaves the block and what an addition takes has 8;
- weights and biases are not nodes: those of a `Conv` or `Linear` have the weight format of its precision, and the bias
  is int32 at the scale of input times weight.

Source: the kernels of onnxruntime's CPU provider, measured; see docs/decisions/0002-quantizer-placement.md.
"""

from collections.abc import Sequence
from dataclasses import replace

from search_spaces.graph import Add, Input, Node, Normalize, NumberFormat, Output, Quantize, Relu, consumers


def place_quantizers(block: Sequence[Node], source: NumberFormat) -> tuple[Node, ...]:
    """Return the block with explicit `Quantize` nodes.

    Args:
        block: Nodes of one block, its `Input` first and its result last, all of one precision.
        source: Format in which its input arrives: `FLOAT32`, or `INT8` when the block before has quantized it.

    Returns:
        The same nodes, taking quantized tensors where there are such.
    """
    precision = block[0].precision
    if precision.is_float:
        return tuple(block)
    takers = consumers(block)
    quantized: dict[str, str] = {}
    placed: list[Node] = []
    for node in block:
        placed.append(replace(node, inputs=tuple(quantized.get(name, name) for name in node.inputs)))
        if not _is_quantized(node, takers[node.name], source):
            continue
        stays_inside = takers[node.name] and not any(isinstance(taker, Add) for taker in takers[node.name])
        bits = precision.activations.bits if stays_inside and not isinstance(node, Input | Normalize) else 8
        quantizer = Quantize(
            name=f"{node.name}/quantize",
            inputs=(node.name,),
            shape=node.shape,
            precision=precision,
            format=NumberFormat(bits, signed=not isinstance(node, Relu)),
        )
        placed.append(quantizer)
        quantized[node.name] = quantizer.name
    return tuple(placed)


def _is_quantized(node: Node, takers: Sequence[Node], source: NumberFormat) -> bool:
    if isinstance(node, Output) or (isinstance(node, Input) and not source.is_float):
        return False
    return not any(isinstance(taker, Relu | Output | Normalize) for taker in takers)
