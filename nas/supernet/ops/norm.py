"""Normalization with fixed statistics."""

from torch import Tensor

from nas.supernet.ops.reading import ParameterSource, apply_operator, input_sources, own_source, torch_source
from search_spaces.operators.norm import Normalize


@apply_operator.register
def _(node: Normalize, inputs: list[Tensor], source: ParameterSource) -> Tensor:
    return source.normalize(node, inputs[0])


@torch_source.register
def _(node: Normalize) -> str:
    return f"({input_sources(node)[0]} - {own_source(node, 'mean')}) / {own_source(node, 'std')}"
