"""Activations, sums, products."""

from torch import Tensor
from torch.nn import functional

from nas.supernet.ops.reading import ParameterSource, apply_operator, input_sources, torch_source
from search_spaces.operators.elementwise import Add, HardSigmoid, HardSwish, Multiply, Relu


@apply_operator.register
def _(node: Relu, inputs: list[Tensor], source: ParameterSource) -> Tensor:
    return inputs[0].relu()


@torch_source.register
def _(node: Relu) -> str:
    return f"{input_sources(node)[0]}.relu()"


@apply_operator.register
def _(node: HardSwish, inputs: list[Tensor], source: ParameterSource) -> Tensor:
    return functional.hardswish(inputs[0])


@torch_source.register
def _(node: HardSwish) -> str:
    return f"functional.hardswish({input_sources(node)[0]})"


@apply_operator.register
def _(node: HardSigmoid, inputs: list[Tensor], source: ParameterSource) -> Tensor:
    return functional.hardsigmoid(inputs[0])


@torch_source.register
def _(node: HardSigmoid) -> str:
    return f"functional.hardsigmoid({input_sources(node)[0]})"


@apply_operator.register
def _(node: Add, inputs: list[Tensor], source: ParameterSource) -> Tensor:
    return inputs[0] + inputs[1]


@torch_source.register
def _(node: Add) -> str:
    return " + ".join(input_sources(node))


@apply_operator.register
def _(node: Multiply, inputs: list[Tensor], source: ParameterSource) -> Tensor:
    return inputs[0] * inputs[1]


@torch_source.register
def _(node: Multiply) -> str:
    return " * ".join(input_sources(node))
