"""Data moved, tensors joined."""

import torch
from torch import Tensor
from torch.nn import functional

from nas.supernet.ops.reading import ParameterSource, apply_operator, input_sources, torch_source
from search_spaces.operators.movement import Concat, DepthToSpace


@apply_operator.register
def _(node: DepthToSpace, inputs: list[Tensor], source: ParameterSource) -> Tensor:
    return functional.pixel_shuffle(inputs[0], node.block)


@torch_source.register
def _(node: DepthToSpace) -> str:
    return f"functional.pixel_shuffle({input_sources(node)[0]}, {node.block})"


@apply_operator.register
def _(node: Concat, inputs: list[Tensor], source: ParameterSource) -> Tensor:
    return torch.cat(inputs, dim=1)


@torch_source.register
def _(node: Concat) -> str:
    return f"torch.cat([{', '.join(input_sources(node))}], dim=1)"
