"""A deployed language model in torch: what its file is compared with."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.supernet.deploy import DeployedLayers
from nas.supernet.executor import execute
from search_spaces.graph.graph import Graph
from search_spaces.graph.node import Weights
from search_spaces.operators.norm import RmsNorm
from search_spaces.space.subnet import Subnet

MOVED = 1e-6


def serving_graph(subnet: Subnet) -> Graph:
    """Return the network as it is shipped: tokens go in, keys and values are kept, the answer of the last one comes out."""
    return subnet.space.at("prefill").build(subnet.genome)


@dataclass(frozen=True, eq=False)
class Network:
    """A deployed network that answers at every place of a window.

    Attributes:
        graph: The network.
        weights: As `nas.supernet.deploy.fold` gives them.
        batch: Windows that are computed at once.
    """

    graph: Graph
    weights: Mapping[str, Tensor]
    batch: int

    @classmethod
    def of(cls, graph: Graph, weights: Weights, batch: int) -> "Network":
        """Return the network of arrays, as a file holds them."""
        return cls(graph, {name: torch.from_numpy(np.array(array)).float() for name, array in weights.items()}, batch)

    def answers(self, windows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the answers at every place of windows `(n, tokens)`, `(n, tokens, vocabulary)`."""
        layers = DeployedLayers(self.weights)
        with torch.no_grad():
            parts = [execute(self.graph, part, layers) for part in torch.split(torch.from_numpy(windows), self.batch)]
        found: NDArray[np.float32] = torch.cat(parts).numpy()
        return found

    @property
    def moved(self) -> "Network":
        """The same with the factors of all norms moved by a millionth: what layers take differs in its last bits."""
        generator, moved = torch.Generator().manual_seed(0), dict(self.weights)
        for name in (f"{node.name}/weight" for node in self.graph.nodes if isinstance(node, RmsNorm)):
            moved[name] = moved[name] * (1 + MOVED * torch.randn(moved[name].shape, generator=generator))
        return Network(self.graph, moved, self.batch)
