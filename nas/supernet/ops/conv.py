"""Convolutions."""

from torch import Tensor
from torch.nn import functional

from nas.supernet.ops.reading import ParameterSource, apply_operator, input_sources, own_source, torch_source
from search_spaces.operators.conv import Conv


@apply_operator.register
def _(node: Conv, inputs: list[Tensor], source: ParameterSource) -> Tensor:
    return source.conv(node, inputs[0])


@torch_source.register
def _(node: Conv) -> str:
    weights = ", ".join(own_source(node, role) for role in ("weight", "bias"))
    settings = f"stride={node.stride}, padding={node.kernel // 2}, groups={node.groups}"
    return f"functional.conv2d({input_sources(node)[0]}, {weights}, {settings})"


def convolve(node: Conv, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return a convolution with the settings of a node."""
    return functional.conv2d(x, weight, bias, node.stride, node.kernel // 2, groups=node.groups)
