"""Weights of few bits of a decoder, rounded so that each matrix gives what it gave."""

from collections.abc import Callable, Collection

import torch
from torch import Tensor
from torch.nn import functional

from nas.quantizers.compiled import compiled_quantizer
from nas.quantizers.error_feedback import round_with_feedback
from nas.supernet.layers import SharedLayers
from nas.supernet.supernet import Supernet
from nas.supernet.walk import walk
from search_spaces.graph.graph import Graph
from search_spaces.operators.project import Project
from search_spaces.precision.scheme import QuantScheme
from search_spaces.space.baselines import formats, uniform_genome

N_ROUNDING = 32  # windows that tell what matrices meet


@torch.no_grad()
def repair(
    supernet: Supernet,
    inputs: Tensor,
    *,
    graph: Graph | None = None,
    bits: Collection[int] = (2, 4),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Round matrices of a decoder with error feedback in every scheme of groups of so many bits; the supernet keeps them.

    Matrices meet what they meet in the largest network of the first format, float32 if it is offered, so that one depends on
    no other, or in a network that is given. A table that serves both ends is rounded to the nearest: errors of a look-up
    cannot be made up for.

    Args:
        supernet: Of a model; its weights stay as they are.
        inputs: Windows of tokens, shape `(n, tokens)`.
        graph: A network that the weights are of, if they are no longer those of all.
        bits: Of weights. With 2 slices lose by it: what makes up for an error may lie in what they leave out.
        progress: Called with matrices done, and in all.
    """
    schemes = map(QuantScheme.from_name, formats(supernet.space))
    few = [scheme for scheme in schemes if scheme.is_grouped and scheme.weights.bits in bits]
    if not few:
        return
    graph = graph or supernet.space.subnet(uniform_genome(supernet.space, "largest")).graph
    choose, moments = compiled_quantizer()[1], (torch.empty(0), torch.empty(0))
    matrices = [node.name for node in graph.nodes if isinstance(node, Project) and not node.tied_to]
    for node, taken, _ in walk(graph, inputs, SharedLayers(supernet)):
        if node.name not in matrices:
            continue
        if moments[0] is not taken[0]:  # several matrices take the same
            rows = taken[0].flatten(0, -2)
            moments = (taken[0], rows.T @ rows / len(rows))
        weight = supernet.shared[f"{node.name}/weight"]
        n_left_out = weight.shape[1] - len(moments[1])
        met = functional.pad(moments[1], (0, n_left_out, 0, n_left_out))
        for scheme in few:
            rounded = round_with_feedback(weight, met, scheme.group, scheme.weights.qmax, choose)
            supernet.groups.keep(node.name, scheme.name, *rounded)
        progress(matrices.index(node.name) + 1, len(matrices))
        if node.name == matrices[-1]:  # the answers of a table that serves both ends are not needed
            break
