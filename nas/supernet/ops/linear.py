"""Fully connected layers."""

from torch import Tensor
from torch.nn import functional

from nas.supernet.ops.reading import ParameterSource, apply_operator, input_sources, own_source, torch_source
from search_spaces.operators.linear import Linear, TokenLinear


@apply_operator.register
def _(node: Linear, inputs: list[Tensor], source: ParameterSource) -> Tensor:
    return functional.linear(inputs[0].flatten(1), *source.tensors(node)).float()


@torch_source.register
def _(node: Linear) -> str:
    weights = ", ".join(own_source(node, role) for role in ("weight", "bias"))
    return f"functional.linear({input_sources(node)[0]}.flatten(1), {weights})"


@apply_operator.register
def _(node: TokenLinear, inputs: list[Tensor], source: ParameterSource) -> Tensor:
    return functional.linear(inputs[0], *source.tensors(node)).float()


@torch_source.register
def _(node: TokenLinear) -> str:
    weights = ", ".join(own_source(node, role) for role in ("weight", "bias"))
    return f"functional.linear({input_sources(node)[0]}, {weights})"
