"""A walk through a network, operator by operator, with what each takes and gives."""

from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor

from nas.supernet.ops import ParameterSource, apply_operator
from search_spaces.graph.graph import Graph
from search_spaces.graph.node import Node


class Step(NamedTuple):
    """An operator of a walk, what it takes and what it gives."""

    node: Node
    taken: list[Tensor]
    given: Tensor


def walk(graph: Graph, inputs: Tensor, source: ParameterSource) -> Iterator[Step]:
    """Compute a network of one input and yield every operator; tensors that nothing takes any more are let go.

    Args:
        graph: The network.
        inputs: Raw, shape `(n, *graph.input_shape)`.
        source: Gives weights and scales.
    """
    tensors = {graph.nodes[0].name: inputs}
    last_use = {name: node.name for node in graph.nodes for name in node.inputs}
    for node in graph.nodes[1:]:
        taken = [tensors[name] for name in node.inputs]
        tensors[node.name] = apply_operator(node, taken, source)
        yield Step(node, taken, tensors[node.name])
        for name in set(node.inputs):
            if last_use[name] == node.name:
                del tensors[name]
