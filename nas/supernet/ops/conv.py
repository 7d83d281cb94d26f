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
    settings = f"stride={node.stride}, padding={symmetric(node) or 0}, dilation={node.dilation}, groups={node.groups}"
    taken = input_sources(node)[0]
    if symmetric(node) is None:
        taken = f"functional.pad({taken}, {torch_pads(node)})"
    return f"functional.conv2d({taken}, {weights}, {settings})"


def convolve(node: Conv, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return a convolution with the settings of a node."""
    padding = symmetric(node)
    if padding is None:
        x = functional.pad(x, torch_pads(node))
    return functional.conv2d(x, weight, bias, node.stride, padding or 0, node.dilation, node.groups)


def symmetric(node: Conv) -> tuple[int, int] | None:
    """Return the zeros above and at the left where there are as many below and at the right, otherwise None."""
    top, left, bottom, right = node.padding
    return (top, left) if (top, left) == (bottom, right) else None


def torch_pads(node: Conv) -> list[int]:
    """Return the zeros on all sides as `functional.pad` takes them: left, right, top, bottom."""
    top, left, bottom, right = node.padding
    return [left, right, top, bottom]
