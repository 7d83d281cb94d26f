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
    return functional.max_pool2d(_padded(inputs[0], node), node.size, node.step)


@torch_source.register
def _(node: MaxPool) -> str:
    taken = input_sources(node)[0]
    if node.pads:
        top, left, bottom, right = node.pads
        taken = f"functional.pad({taken}, {[left, right, top, bottom]}, value=-float('inf'))"
    return f"functional.max_pool2d({taken}, {node.size}, {node.step})"


def _padded(x: Tensor, node: MaxPool) -> Tensor:
    if not node.pads:
        return x
    top, left, bottom, right = node.pads
    return functional.pad(x, [left, right, top, bottom], value=-float("inf"))
