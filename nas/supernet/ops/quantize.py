"""Rounding to a number format."""

from torch import Tensor

from nas.supernet.ops.reading import ParameterSource, apply_operator, input_sources, own_source, torch_source
from search_spaces.operators.quantize import Quantize


@apply_operator.register
def _(node: Quantize, inputs: list[Tensor], source: ParameterSource) -> Tensor:
    return source.quantize(node, inputs[0])


@torch_source.register
def _(node: Quantize) -> str:
    low, high = str(node.format.qmin), str(node.format.qmax)
    if node.format.asymmetric:
        zero = own_source(node, "zero_point")
        low, high = f"-{zero}", f"{node.format.n_levels - 1} - {zero}"
    return f"quantize({input_sources(node)[0]}, {own_source(node, 'scale')}, {low}, {high})"
