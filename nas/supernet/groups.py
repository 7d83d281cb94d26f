"""Weights in groups, rounded once: their integers are the same in every network, whatever slice it takes of a matrix."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nas.quantizers.groups import quantize_groups
from nas.supernet.scales import weight_scale
from nas.supernet.weights import weight_owner
from search_spaces.graph.node import Node

if TYPE_CHECKING:
    from nas.supernet.supernet import Supernet


class KnownGroups:
    """Integers and scales by operator, scheme and shape, for as long as no weight of the supernet changes.

    Args:
        supernet: Owner of the weights.
    """

    def __init__(self, supernet: "Supernet") -> None:
        self._supernet = supernet
        self._version = -1
        self._known: dict[tuple[str, str, torch.Size], tuple[Tensor, Tensor]] = {}

    def __deepcopy__(self, memo: dict[int, object]) -> "KnownGroups":
        return KnownGroups(memo[id(self._supernet)])  # type: ignore[arg-type]

    def get(self, node: Node, weight: Tensor) -> dict[str, Tensor]:
        """Return a weight `(out, in)` as integers of 8 bits, and their scales `(out, in / group)`, by name.

        Args:
            node: The operator.
            weight: Its slice.
        """
        version = sum(tensor._version for tensor in self._supernet.parameters())
        if version != self._version:
            self._version = version
            self._known.clear()
        key = (weight_owner(node), node.precision.name, weight.shape)
        if key not in self._known:
            scale = weight_scale(self._supernet, node, weight)
            integers = quantize_groups(weight, scale, node.precision.weights.qmax)
            self._known[key] = (integers.to(torch.int8), scale)
        integers, scale = self._known[key]
        return {f"{node.name}/weight": integers, f"{node.name}/weight_scale": scale}
