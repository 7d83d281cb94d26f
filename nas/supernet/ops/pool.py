"""Pooling."""

from torch import Tensor
from torch.nn import functional

from nas.supernet.ops.reading import ParameterSource, apply_operator, input_sources, torch_source
from search_spaces.operators.pool import GlobalAveragePool, MaxPool


@apply_operator.register
def _(node: GlobalAveragePool, inputs: list[Tensor], source: ParameterSource) -> Tensor:
    return inputs[0].mean(dim=(2, 3), keepdim=True)


@torch_source.register
def _(node: GlobalAveragePool) -> str:
    return f"{input_sources(node)[0]}.mean(dim=(2, 3), keepdim=True)"


@apply_operator.register
def _(node: MaxPool, inputs: list[Tensor], source: ParameterSource) -> Tensor:
    return functional.max_pool2d(inputs[0], node.size)


@torch_source.register
def _(node: MaxPool) -> str:
    return f"functional.max_pool2d({input_sources(node)[0]}, {node.size})"
