"""Images of another size."""

from torch import Tensor
from torch.nn import functional

from nas.supernet.ops.reading import ParameterSource, apply_operator, input_sources, torch_source
from search_spaces.operators.resize import Resize, Upsample


@apply_operator.register
def _(node: Resize, inputs: list[Tensor], source: ParameterSource) -> Tensor:
    return functional.interpolate(inputs[0], node.shape[1:], mode="bilinear")


@torch_source.register
def _(node: Resize) -> str:
    return f"functional.interpolate({input_sources(node)[0]}, {node.shape[1:]!r}, mode='bilinear')"


@apply_operator.register
def _(node: Upsample, inputs: list[Tensor], source: ParameterSource) -> Tensor:
    return functional.interpolate(inputs[0], scale_factor=node.factor, mode="nearest")


@torch_source.register
def _(node: Upsample) -> str:
    return f"functional.interpolate({input_sources(node)[0]}, scale_factor={node.factor}, mode='nearest')"
