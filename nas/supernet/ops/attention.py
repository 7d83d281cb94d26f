"""The parts of multi-head attention."""

from torch import Tensor

from nas.supernet.ops.reading import ParameterSource, apply_operator, input_sources, torch_source
from search_spaces.operators.attention import AttentionScores, AttentionValues, Softmax


@apply_operator.register
def _(node: AttentionScores, inputs: list[Tensor], source: ParameterSource) -> Tensor:
    queries, keys = (x.reshape(len(x), node.shape[0], node.depth, -1) for x in inputs)
    return queries.mT @ keys


@torch_source.register
def _(node: AttentionScores) -> str:
    queries, keys = (f"{x}.unflatten(1, ({node.shape[0]}, {node.depth})).flatten(3)" for x in input_sources(node))
    return f"{queries}.mT @ {keys}"


@apply_operator.register
def _(node: Softmax, inputs: list[Tensor], source: ParameterSource) -> Tensor:
    return (inputs[0] * node.factor).softmax(dim=-1)


@torch_source.register
def _(node: Softmax) -> str:
    return f"({input_sources(node)[0]} * {node.factor!r}).softmax(dim=-1)"


@apply_operator.register
def _(node: AttentionValues, inputs: list[Tensor], source: ParameterSource) -> Tensor:
    weights, values = inputs
    split = values.reshape(len(values), weights.shape[1], -1, weights.shape[-1])
    return (split @ weights.mT).reshape(values.shape)


@torch_source.register
def _(node: AttentionValues) -> str:
    weights, values = input_sources(node)
    heads = f"{weights}.shape[1]"
    return f"({values}.unflatten(1, ({heads}, -1)).flatten(3) @ {weights}.mT).reshape({values}.shape)"
