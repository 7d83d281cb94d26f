"""The output of a network."""

from torch import Tensor

from nas.supernet.ops.reading import ParameterSource, apply_operator, input_sources, torch_source
from search_spaces.operators.ends import Output


@apply_operator.register
def _(node: Output, inputs: list[Tensor], source: ParameterSource) -> Tensor:
    return inputs[0]


@torch_source.register
def _(node: Output) -> str:
    return input_sources(node)[0]
