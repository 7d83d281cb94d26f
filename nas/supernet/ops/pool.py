"""Pooling."""

from torch import Tensor

from nas.supernet.ops.reading import ParameterSource, apply_operator, input_sources, torch_source
from search_spaces.operators.pool import GlobalAveragePool


@apply_operator.register
def _(node: GlobalAveragePool, inputs: list[Tensor], source: ParameterSource) -> Tensor:
    return inputs[0].mean(dim=(2, 3), keepdim=True)


@torch_source.register
def _(node: GlobalAveragePool) -> str:
    return f"{input_sources(node)[0]}.mean(dim=(2, 3), keepdim=True)"
