"""Experts: further tensors beside each shared weight, mixed for every operator that takes a slice of it."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from nas.supernet.weights import cut, weight_owner
from search_spaces.errors import InvalidInputError
from search_spaces.graph.node import Node, WeightSpec
from search_spaces.operators.causal_attention import CausalAttention
from search_spaces.space.space import SearchSpace


class Experts(nn.Module):
    """What is added to the slices of shared weights.

    Each quantized weight has n tensors of its shape. An operator adds their mean, weighed by the softmax of a linear
    function of its own sizes, as shares of the largest, and of the bits of its weights: networks that differ there no longer
    share all of a weight. The tensors begin at zero, so that a supernet begins as one without experts; cut out, a network
    holds the sum.

    Args:
        specs: The largest of each tensor by `NODE/ROLE`, see `take_inventory`.
        n: Tensors beside each shared one.
        generator: Source of the first mixtures.

    Source:
        Jawahar et al. 2023, Mixture-of-Supernets, arXiv:2306.04845. Differs: a mixture depends on the operator's own sizes
        and scheme, not on those of the whole network, and experts are differences to one shared tensor.
    """

    def __init__(self, specs: Mapping[str, WeightSpec], n: int, generator: torch.Generator) -> None:
        super().__init__()
        self.n = n
        self._specs = {name: spec for name, spec in specs.items() if spec.quantized}
        self.changes, self.routers = nn.ParameterDict(), nn.ParameterDict()
        for name, spec in self._specs.items():
            self.changes[name] = nn.Parameter(torch.zeros(n, *spec.shape))
            self.routers[name] = nn.Parameter(torch.randn(n, len(spec.shape) + 2, generator=generator))

    def forward(self, node: Node) -> Tensor:
        """Return what the quantized weight of a node adds to its slice, of the slice's shape."""
        name = f"{weight_owner(node)}/weight"
        spec, changes, router = node.spec_of["weight"], self.changes[name], self.routers[name]
        shares = [mine / whole for mine, whole in zip(spec.shape, self._specs[name].shape, strict=True)]
        told = torch.tensor([1.0, node.precision.weights.bits / 32, *shares], device=router.device)
        mixture = (router @ told).softmax(dim=0)
        mixed: Tensor = torch.tensordot(mixture, cut(changes, stacked(spec, self.n)), dims=1)
        return mixed


def stacked(spec: WeightSpec, n: int) -> WeightSpec:
    """Return the weight n times, along a new first axis."""
    return replace(spec, shape=(n, *spec.shape), axes=("expert", *spec.axes))


def check_experts(space: SearchSpace) -> None:
    """Raise `InvalidInputError` if weights of a space must be the same in every network, as those of language models."""
    nodes = [node for block in space.distinct_blocks() for node in block]
    if any(node.precision.is_grouped or isinstance(node, CausalAttention) for node in nodes):
        raise InvalidInputError(
            f"training.experts: weights of space '{space.name}' are sorted, or rounded in groups, once for all networks; "
            "leave it out"
        )
