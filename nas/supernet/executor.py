"""One executor for every graph: what each operator of `search_spaces.graph.graph` does to torch tensors.

Whatever has weights or scales is asked of `ParameterSource`: shared and trained, being calibrated, or folded and fixed.
"""

from functools import singledispatch
from typing import Protocol

from torch import Tensor
from torch.nn import functional

from search_spaces.graph.graph import Graph, consumers
from search_spaces.graph.node import Node
from search_spaces.operators.attention import AttentionScores, AttentionValues, Softmax
from search_spaces.operators.conv import Conv
from search_spaces.operators.elementwise import Add, HardSigmoid, HardSwish, Multiply, Relu
from search_spaces.operators.ends import Input, Output
from search_spaces.operators.linear import Linear
from search_spaces.operators.norm import Normalize
from search_spaces.operators.pool import GlobalAveragePool
from search_spaces.operators.quantize import Quantize
from search_spaces.operators.resize import Resize


class ParameterSource(Protocol):
    """The operators that have weights, statistics or scales."""

    def normalize(self, node: Normalize, x: Tensor) -> Tensor:
        """Return `(x - mean) / std`."""

    def conv(self, node: Conv, x: Tensor) -> Tensor:
        """Return convolution of `x` with what follows it: batch norm, or a bias."""

    def linear(self, node: Linear, x: Tensor) -> Tensor:
        """Return the fully connected layer applied to flattened `x`."""

    def quantize(self, node: Quantize, x: Tensor) -> Tensor:
        """Return `x` fake-quantized."""


def execute(graph: Graph, images: Tensor, layers: ParameterSource) -> Tensor:
    """Compute a network.

    Args:
        graph: Whole network with its quantizers.
        images: Shape `(n, *graph.input_shape)`, raw pixels.
        layers: Where weights and scales come from.

    Returns:
        What the last node gives, shape `(n, *graph.output.shape)`.
    """
    last_use = {name: node.name for node in graph.nodes for name in node.inputs}
    passed_over = _relus_of_quantizers(graph)
    tensors = {graph.nodes[0].name: images}
    for node in graph.nodes[1:]:
        inputs = [tensors[name] for name in node.inputs]
        tensors[node.name] = inputs[0] if node.name in passed_over else apply_operator(node, inputs, layers)
        for name in node.inputs:
            if last_use[name] == node.name:
                tensors.pop(name, None)
    return tensors[graph.output.name]


def _relus_of_quantizers(graph: Graph) -> set[str]:
    """Return the ReLUs that need not be computed: quantizers to integers from 0 up, which alone take them, do the same.

    Values are the same, and gradients but at exactly 0; a pass over the tensor is saved.
    """
    consumers_of = consumers(graph.nodes)
    relus = [node.name for node in graph.nodes if isinstance(node, Relu) and consumers_of[node.name]]
    return {
        name
        for name in relus
        if all(isinstance(consumer, Quantize) and _starts_at_zero(consumer) for consumer in consumers_of[name])
    }


def _starts_at_zero(quantizer: Quantize) -> bool:
    return quantizer.format.is_integer and not quantizer.format.signed


@singledispatch
def apply_operator(node: Node, inputs: list[Tensor], layers: ParameterSource) -> Tensor:
    """Compute one operator."""
    raise TypeError(f"no executor for {type(node).__name__}")


@apply_operator.register
def _(node: Normalize, inputs: list[Tensor], layers: ParameterSource) -> Tensor:
    return layers.normalize(node, inputs[0])


@apply_operator.register
def _(node: Conv, inputs: list[Tensor], layers: ParameterSource) -> Tensor:
    return layers.conv(node, inputs[0])


@apply_operator.register
def _(node: Linear, inputs: list[Tensor], layers: ParameterSource) -> Tensor:
    return layers.linear(node, inputs[0].flatten(1))


@apply_operator.register
def _(node: Quantize, inputs: list[Tensor], layers: ParameterSource) -> Tensor:
    return layers.quantize(node, inputs[0])


@apply_operator.register
def _(node: Relu, inputs: list[Tensor], layers: ParameterSource) -> Tensor:
    return inputs[0].relu()


@apply_operator.register
def _(node: Add, inputs: list[Tensor], layers: ParameterSource) -> Tensor:
    return inputs[0] + inputs[1]


@apply_operator.register
def _(node: GlobalAveragePool, inputs: list[Tensor], layers: ParameterSource) -> Tensor:
    return inputs[0].mean(dim=(2, 3), keepdim=True)


@apply_operator.register
def _(node: HardSwish, inputs: list[Tensor], layers: ParameterSource) -> Tensor:
    return functional.hardswish(inputs[0])


@apply_operator.register
def _(node: HardSigmoid, inputs: list[Tensor], layers: ParameterSource) -> Tensor:
    return functional.hardsigmoid(inputs[0])


@apply_operator.register
def _(node: Multiply, inputs: list[Tensor], layers: ParameterSource) -> Tensor:
    return inputs[0] * inputs[1]


@apply_operator.register
def _(node: AttentionScores, inputs: list[Tensor], layers: ParameterSource) -> Tensor:
    queries, keys = (x.reshape(len(x), node.shape[0], node.depth, -1) for x in inputs)
    return queries.mT @ keys


@apply_operator.register
def _(node: Softmax, inputs: list[Tensor], layers: ParameterSource) -> Tensor:
    return (inputs[0] * node.factor).softmax(dim=-1)


@apply_operator.register
def _(node: AttentionValues, inputs: list[Tensor], layers: ParameterSource) -> Tensor:
    weights, values = inputs
    split = values.reshape(len(values), weights.shape[1], -1, weights.shape[-1])
    return (split @ weights.mT).reshape(values.shape)


@apply_operator.register
def _(node: Resize, inputs: list[Tensor], layers: ParameterSource) -> Tensor:
    return functional.interpolate(inputs[0], node.shape[1:], mode="bilinear")


@apply_operator.register(Output)
@apply_operator.register(Input)
def _(node: Node, inputs: list[Tensor], layers: ParameterSource) -> Tensor:
    return inputs[0]
