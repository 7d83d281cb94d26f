"""Bias correction: what integers shift in the mean is taken back by the biases, at no cost at run time.

Layer by layer within a block, on float32 inputs of the block: so a layer is corrected for what rounding did before it
in its block, and blocks stay independent of each other.

Source: Nagel et al. 2019, arXiv:1906.04721, section 4.2; by samples, not by batch norms.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latency_tables.runtimes.onnxruntime import open_session
from nas.ptq.layers import Doubles, Floats, Layer, Rounded
from search_spaces.graph.graph import Graph
from search_spaces.graph.node import Node
from search_spaces.lowering import lower
from search_spaces.operators.conv import Conv
from search_spaces.operators.ends import Input
from search_spaces.operators.quantize import Quantize


def tensors_into(graph: Graph, nodes: Sequence[Node]) -> list[str]:
    """Return the tensors that nodes of a network take from others, by the operators that compute them."""
    outer = _outer(nodes)
    return list(dict.fromkeys(graph[name].inputs[0] if isinstance(graph[name], Quantize) else name for name in outer))


def shift_of(
    graph: Graph,
    nodes: Sequence[Node],
    layer: Layer,
    arrays: Mapping[str, NDArray[Any]],
    inputs: Iterable[Mapping[str, Floats]],
) -> Doubles:
    """Return by how much a layer in integers gives too little in the mean, shape `(out,)`.

    Args:
        graph: The whole network in integers.
        nodes: Of the layer's block there, with quantizers.
        layer: The layer, with the mean of what it meets in float32.
        arrays: Weights and scales of the network.
        inputs: For each sample what the block takes in float32, by `tensors_into`, batch axis included.
    """
    needed = _before(nodes, layer.node.name)
    outer = _outer(needed)
    given: list[Node] = []
    for name in outer:
        (tensor,) = graph[name].outputs
        given.append(Input(name=name, shape=tensor.shape, dtype=tensor.dtype, batched=tensor.batched))
    session = open_session(lower(Graph((*given, *needed)), arrays).SerializeToString())
    found = []
    for tensors in inputs:
        feed = {name: _as_integers(graph[name], tensors, arrays) for name in outer}
        found.append(_mean(session.run([layer.node.name], feed)[0], layer))
    wanted = np.einsum("god,gd->go", layer.weight, layer.mean).reshape(-1) + layer.bias
    shift: Doubles = wanted - np.mean(found, axis=0)
    return shift


def shifted(rounded: Rounded, shift: Doubles) -> Rounded:
    """Return a layer in integers that gives so much more."""
    return replace(rounded, bias=rounded.bias + shift)


def _outer(nodes: Sequence[Node]) -> list[str]:
    own = {node.name for node in nodes}
    return list(dict.fromkeys(name for node in nodes for name in node.inputs if name not in own))


def _before(nodes: Sequence[Node], last: str) -> list[Node]:
    """Return a node and those before it that it depends on."""
    needed = {last}
    for node in reversed(nodes):
        if node.name in needed:
            needed |= set(node.inputs)
    return [node for node in nodes if node.name in needed]


def _as_integers(node: Node, tensors: Mapping[str, Floats], arrays: Mapping[str, NDArray[Any]]) -> Floats:
    """Return a tensor of another block as that gives it: rounded if it is."""
    if not isinstance(node, Quantize):
        return tensors[node.name]
    scale = np.float32(arrays[f"{node.name}/scale"])
    rounded = node.saturate(tensors[node.inputs[0]] / scale, arrays) * scale
    return rounded.astype(np.float32)


def _mean(found: Floats, layer: Layer) -> Doubles:
    """Return the mean of each output over all places."""
    axes = (0, 2, 3) if isinstance(layer.node, Conv) else tuple(range(found.ndim - 1))
    return np.asarray(found.mean(axis=axes, dtype=np.float64))
