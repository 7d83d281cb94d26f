"""Weights in groups, rounded once: their integers are the same in every network, whatever slice it takes of a matrix."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nas.quantizers.groups import quantize_groups
from nas.supernet.scales import weight_scale
from nas.supernet.weights import cut, weight_owner
from search_spaces.graph.node import Node

if TYPE_CHECKING:
    from nas.supernet.supernet import Supernet

PREFIX = "groups"
"""How the names of rounded weights begin in the file of a supernet: `groups:SCHEME:NODE/weight`, and `..._scale`."""


class KnownGroups:
    """Integers and scales of whole matrices by operator and scheme, for as long as no weight of the supernet changes.

    A copy of the supernet knows nothing: it is made to be trained on, and rounds to the nearest.

    Args:
        supernet: Owner of the weights.
    """

    def __init__(self, supernet: "Supernet") -> None:
        self._supernet = supernet
        self._version = -1
        self._known: dict[tuple[str, str], tuple[Tensor, Tensor]] = {}

    def __deepcopy__(self, memo: dict[int, object]) -> "KnownGroups":
        return KnownGroups(memo[id(self._supernet)])  # type: ignore[arg-type]

    def get(self, node: Node) -> dict[str, Tensor]:
        """Return a weight `(out, in)` as integers of 8 bits, and its scales `(out, in / group)`, by name."""
        self._forget_old()
        scheme, spec = node.precision, node.spec_of["weight"]
        key = (weight_owner(node), scheme.name)
        if key not in self._known:
            whole = self._supernet.shared[f"{key[0]}/weight"]
            scale = weight_scale(self._supernet, node, whole)
            self._known[key] = (quantize_groups(whole, scale, scheme.weights.qmax).to(torch.int8), scale)
        integers, scale = self._known[key]
        n_out, n_in = spec.shape
        return {
            f"{node.name}/weight": cut(integers, spec),
            f"{node.name}/weight_scale": scale[:n_out, : n_in // scheme.group],
        }

    def keep(self, owner: str, scheme: str, integers: Tensor, scale: Tensor) -> None:
        """Let a matrix be rounded so from now on; shapes `(out, in)` and `(out, in / group)`."""
        self._forget_old()
        self._known[owner, scheme] = (integers.to(self._supernet.device), scale.to(self._supernet.device))

    def tensors(self) -> dict[str, Tensor]:
        """Return all that is known by name, for `restore`."""
        self._forget_old()
        found: dict[str, Tensor] = {}
        for (owner, scheme), (integers, scale) in self._known.items():
            name = f"{PREFIX}:{scheme}:{owner}/weight"
            found |= {name: integers, f"{name}_scale": scale}
        return found

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `tensors` gave of the same weights."""
        for name in tensors:
            _, scheme, owner = name.split(":", 2)
            if owner.endswith("/weight"):
                self.keep(owner.removesuffix("/weight"), scheme, tensors[name], tensors[f"{name}_scale"])

    def _forget_old(self) -> None:
        version = sum(tensor._version for tensor in self._supernet.parameters())
        if version != self._version:
            self._version = version
            self._known.clear()
