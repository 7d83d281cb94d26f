"""Activations, sums, products."""

from torch import Tensor
from torch.nn import functional

from nas.supernet.ops.reading import ParameterSource, apply_operator, input_sources, torch_source
from search_spaces.operators.elementwise import Add, HardSigmoid, HardSwish, LeakyRelu, Multiply, Relu, Relu6, Sigmoid


@apply_operator.register
def _(node: Relu, inputs: list[Tensor], source: ParameterSource) -> Tensor:
    return inputs[0].relu()


@torch_source.register
def _(node: Relu) -> str:
    return f"{input_sources(node)[0]}.relu()"


@apply_operator.register
def _(node: Relu6, inputs: list[Tensor], source: ParameterSource) -> Tensor:
    return inputs[0].clamp(0, node.limit)


@torch_source.register
def _(node: Relu6) -> str:
    return f"{input_sources(node)[0]}.clamp(0, {node.limit})"


@apply_operator.register
def _(node: LeakyRelu, inputs: list[Tensor], source: ParameterSource) -> Tensor:
    return functional.leaky_relu(inputs[0], node.slope)


@torch_source.register
def _(node: LeakyRelu) -> str:
    return f"functional.leaky_relu({input_sources(node)[0]}, {node.slope!r})"


@apply_operator.register
def _(node: Sigmoid, inputs: list[Tensor], source: ParameterSource) -> Tensor:
    return inputs[0].sigmoid()


@torch_source.register
def _(node: Sigmoid) -> str:
    return f"{input_sources(node)[0]}.sigmoid()"


@apply_operator.register
def _(node: HardSwish, inputs: list[Tensor], source: ParameterSource) -> Tensor:
    return functional.hardswish(inputs[0])


@torch_source.register
def _(node: HardSwish) -> str:
    return f"functional.hardswish({input_sources(node)[0]})"


@apply_operator.register
def _(node: HardSigmoid, inputs: list[Tensor], source: ParameterSource) -> Tensor:
    return (inputs[0] * node.slope + 0.5).clamp(0, 1)


@torch_source.register
def _(node: HardSigmoid) -> str:
    return f"({input_sources(node)[0]} * {node.slope!r} + 0.5).clamp(0, 1)"


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
