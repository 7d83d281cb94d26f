"""Sorting of a decoder's heads and units by what they matter: every narrower network then takes the first, the best ones."""

from typing import NamedTuple

import torch
from torch import Tensor

from nas.supernet.layers import SharedLayers
from nas.supernet.supernet import Supernet
from nas.supernet.walk import walk
from search_spaces.operators.causal_attention import CausalAttention
from search_spaces.operators.elementwise import SwiGlu
from search_spaces.space.baselines import uniform_genome
from search_spaces.space.space import SearchSpace


class Permutation(NamedTuple):
    """A weight by name, one of its axes, and which of the slices along it comes at each place."""

    weight: str
    axis: int
    places: Tensor

    def sort(self, tensor: Tensor) -> None:
        """Put the slices of a tensor of the weight's shape in order."""
        tensor.copy_(tensor.index_select(self.axis, self.places))


def is_decoder(space: SearchSpace) -> bool:
    """Return True if networks of a space have heads and units that can be sorted."""
    return any(isinstance(node, CausalAttention) for block in space.distinct_blocks() for node in block)


@torch.no_grad()
def orders_of_importance(supernet: Supernet, inputs: Tensor) -> list[Permutation]:
    """Return how groups of heads and units of inner layers lie when those come first that add most to the stream.

    A unit counts by the mean size of its activation times the length of its column in the matrix behind it. Sorted, the
    largest network computes the same as before.

    Args:
        supernet: Of a decoder.
        inputs: Windows of tokens, shape `(n, tokens)`.

    Source:
        Importance by activations: Muralidharan et al. 2024, arXiv:2407.14679.
    """
    space = supernet.space
    graph = space.subnet(uniform_genome(space, "largest")).graph
    found: list[Permutation] = []
    for node, _, given in walk(graph, inputs, SharedLayers(supernet)):
        if not isinstance(node, CausalAttention | SwiGlu):
            continue
        block = graph.block_of[node.name]
        if isinstance(node, CausalAttention):
            behind, n_groups, before = "project", node.kv_heads, ["queries", "keys", "values"]
        else:
            behind, n_groups, before = "down", node.shape[-1], ["gate", "up"]
        importance = given.abs().mean(dim=(0, 1)) * supernet.shared[f"{block}/{behind}/weight"].norm(dim=0)
        order = importance.reshape(n_groups, -1).sum(dim=1).argsort(descending=True, stable=True)
        for part, axis in ((behind, 1), *((part, 0) for part in before)):
            name = f"{block}/{part}/weight"
            places = torch.arange(supernet.shared[name].shape[axis], device=order.device).reshape(n_groups, -1)
            found.append(Permutation(name, axis, places[order].flatten()))
    return found


@torch.no_grad()
def sort_by_importance(supernet: Supernet, inputs: Tensor) -> None:
    """Sort the weights of a decoder, see `orders_of_importance`; exact."""
    for permutation in orders_of_importance(supernet, inputs):
        permutation.sort(supernet.shared[permutation.weight])
