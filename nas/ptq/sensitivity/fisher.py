"""Sensitivity by Fisher's information: one gradient of the outputs says what every change within the network costs.

A group in integers changes what it hands on by D. To the second order the divergence is half the mean square of g D, where g
is the gradient, at what is handed on, of an answer that is drawn as the network itself would give it; where the start is off
already, g times that is added before it is squared. So each format of each group is computed once, alone, in place of the
whole network, whatever the number of groups.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas.events.progress import progress_bar
from nas.ptq.execution import feeds_of, tensors_of
from nas.ptq.sensitivity.sensitivity import SENSITIVITIES, Losses, Network, singles
from nas.tasks.divergence import Curvature, divergences, joined
from search_spaces.errors import InvalidInputError, NotReadyError
from search_spaces.graph.graph import Graph
from search_spaces.graph.node import Node
from search_spaces.operators.opaque import Opaque

if TYPE_CHECKING:
    from torch import Tensor

N_DRAWS = 4  # of answers for each sample
Edge = tuple[str, str]
"""Names of an operator and of what it takes."""


@SENSITIVITIES.register("fisher")
def fisher(network: Network, known: Losses, keep: Callable[[str, float], None]) -> Losses:
    """See `Sensitivity`.

    Raises:
        NotReadyError: If torch is not installed.
        InvalidInputError: If what is shipped as it is, and has no gradient, takes what a group gives.

    Source:
        Fisher's information as curvature: Theis et al. 2018, arXiv:1801.05787; that of drawn answers is the Hessian of the
        divergence: Martens 2020, arXiv:1412.1193, section 9.2.
    """
    if find_spec("torch") is None:
        raise NotReadyError(
            "adopt.sensitivity: fisher needs torch; install it with `pip install 'hwnas[adopt]'`, or use measured"
        )
    space = network.adopted.space
    start = space.subnet(np.zeros(len(space.choices), np.int16))
    subnets = [space.subnet(genome) for _, _, genome in singles(space)]
    if {start.id, *(subnet.id for subnet in subnets)} <= set(known):
        return dict(known)
    changes = [_Change.of(network, subnet.graph, start.graph) for subnet in subnets]
    _check_gradients(start.graph, changes)
    first, gained = _second_order(network, start.graph, changes)
    by_output = dict(zip(network.kinds, np.vstack([first, first + gained]).T, strict=True))
    found = {}
    for i, subnet in enumerate([start, *subnets]):
        each = {output: values[i : i + 1] for output, values in by_output.items()}
        found[subnet.id] = float(joined(each, network.weights, network.steer)[0])
        keep(subnet.id, found[subnet.id])
    return {**known, **found}


def _second_order(
    network: Network, start: Graph, changes: "Sequence[_Change]"
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what each output diverges by at the start, shape `(m,)`, and what each change adds, shape `(changes, m)`."""
    from nas.supernet.threads import torch_threads

    weights, samples, rng = network.bank.weights(start), network.samples.split("val"), np.random.default_rng(0)
    opaque = [node.name for node in start.nodes if isinstance(node, Opaque)]
    reference = {name: network.references["val"][name] for name in network.kinds}
    curvatures = [Curvature.of(kind, reference[name]) for name, kind in network.kinds.items()]
    tensors, n = _as_tensors(weights), len(next(iter(samples.values())))
    squares = np.zeros((len(changes), len(curvatures)))
    outputs: dict[str, list[NDArray[np.float32]]] = {name: [] for name in network.kinds}
    runs = zip(
        feeds_of([tensor for node in start.inputs for tensor in node.outputs], samples),
        tensors_of(start, weights, samples, opaque, threads=network.threads),
        strict=True,
    )
    with progress_bar("pricing formats") as update, torch_threads(network.threads):
        for i, (feed, as_it_is) in enumerate(runs):
            update(i, n)
            given, edges = _run(start, _as_tensors({**as_it_is, **feed}), tensors)
            moved = [change.moved(given) for change in changes]
            for j, (name, curvature) in enumerate(zip(outputs, curvatures, strict=True)):
                outputs[name].append(given[name].detach().numpy().reshape(reference[name].shape[1:]))
                for _ in range(N_DRAWS):
                    drawn = curvature.draw(i, rng)
                    gradients, off = _gradients(given[name], edges, drawn), drawn * (outputs[name][-1] - reference[name][i])
                    products = np.array([change.product(gradients, by) for change, by in zip(changes, moved, strict=True)])
                    squares[:, j] += (products + off.sum()) ** 2 - off.sum() ** 2
        update(n, n)
    stacked = {name: np.stack(arrays) for name, arrays in outputs.items()}
    first = [values.mean() for values in divergences(network.kinds, stacked, reference).values()]
    return np.array(first), squares / (2 * N_DRAWS * n)


@dataclass(frozen=True)
class _Change:
    """A group in another format.

    Attributes:
        nodes: Operators of the blocks that differ for it, in order; but those that are shipped as they are.
        edges: Where others take what they give, and ends of the network: by the edge at the start what changes there.
        tensors: Weights and scales that they compute with.
    """

    nodes: tuple[Node, ...]
    edges: Mapping[Edge, str]
    tensors: "Mapping[str, Tensor]"

    @classmethod
    def of(cls, network: Network, graph: Graph, start: Graph) -> "_Change":
        """Return what differs between a network and the one that it starts from."""
        blocks = start.blocks
        differ = [node for name, block in graph.blocks.items() if block != blocks.get(name) for node in block]
        nodes = tuple(node for node in differ if node.inputs and not isinstance(node, Opaque))
        own, edges = {node.name for node in nodes}, {}
        for node in graph.nodes:
            if node in graph.outputs and own & set(node.inputs):  # it may be handed another tensor, but gives the same one
                nodes = nodes if node.name in own else (*nodes, node)
                edges[node.name, start[node.name].inputs[0]] = node.name
            elif node.name not in own:
                edges |= {(node.name, name): name for name in node.inputs if name in own}
        holders = own | {name for node in nodes for name in node.inputs}
        weights = network.bank.weights(graph)
        tensors = _as_tensors({key: array for key, array in weights.items() if key.rpartition("/")[0] in holders})
        return cls(nodes, edges, tensors)

    def moved(self, given: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
        """Return by how much what is handed on changes, from what the network that it starts from holds."""
        import torch

        from nas.supernet.deploy import DeployedLayers
        from nas.supernet.ops import apply_operator

        source, found = DeployedLayers(self.tensors), dict(given)
        with torch.no_grad():
            for node in self.nodes:
                found[node.name] = apply_operator(node, [found[name] for name in node.inputs], source)
            return {name: found[name] - given[name] for name in self.edges.values()}

    def product(self, gradients: "Mapping[Edge, Tensor]", moved: "Mapping[str, Tensor]") -> float:
        """Return gradient times change, summed over all that is handed on."""
        return sum(float((gradients[edge] * moved[name]).sum()) for edge, name in self.edges.items() if edge in gradients)


def _run(
    graph: Graph, known: "Mapping[str, Tensor]", tensors: "Mapping[str, Tensor]"
) -> "tuple[dict[str, Tensor], dict[Edge, Tensor]]":
    """Compute a network for one sample; return what every operator gives, and what each takes of which, for gradients.

    Args:
        graph: The network.
        known: What it takes, and what operators give that torch does not know.
        tensors: Its weights and scales.
    """
    from nas.supernet.deploy import DeployedLayers
    from nas.supernet.ops import apply_operator

    class Through(DeployedLayers):
        """Gradients pass through roundings."""

        def quantize(self, node: Any, x: "Tensor") -> "Tensor":
            return x + (super().quantize(node, x) - x).detach()

    given, edges, source = dict(known), {}, Through(tensors)
    for node in graph.nodes:
        if node.name in given:
            continue
        for name in node.inputs:
            edge = given[name].view_as(given[name])
            if edge.is_floating_point() and not edge.requires_grad:
                edge.requires_grad_()
            edges[node.name, name] = edge
        given[node.name] = apply_operator(node, [edges[node.name, name] for name in node.inputs], source)
    return given, {edge: tensor for edge, tensor in edges.items() if tensor.requires_grad}


def _gradients(output: "Tensor", edges: "Mapping[Edge, Tensor]", drawn: NDArray[np.float64]) -> "dict[Edge, Tensor]":
    """Return the gradients of an output, weighted as drawn, at what operators take, but for those that it does not need."""
    import torch

    weight = torch.from_numpy(drawn).to(output.dtype).reshape(output.shape)
    found = torch.autograd.grad(output, list(edges.values()), weight, retain_graph=True, allow_unused=True)
    return {edge: gradient for edge, gradient in zip(edges, found, strict=True) if gradient is not None}


def _check_gradients(graph: Graph, changes: list[_Change]) -> None:
    changed = {node.name for change in changes for node in change.nodes}
    for node in graph.nodes:
        if changed & set(node.inputs):
            changed.add(node.name)
            if isinstance(node, Opaque):
                raise InvalidInputError(
                    f"adopt.sensitivity: fisher needs gradients, and '{node.name}', which is shipped as it is, has none; "
                    f"use measured"
                )


def _as_tensors(arrays: Mapping[str, NDArray[Any]]) -> "dict[str, Tensor]":
    import torch

    return {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
