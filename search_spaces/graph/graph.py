"""Graph: the typed network, the one definition that everything else reads."""

from collections.abc import Sequence
from dataclasses import dataclass

from search_spaces.graph.node import Node
from search_spaces.precision.formats import NumberFormat


@dataclass(frozen=True)
class Graph:
    """A network, or a block on its own: nodes in an order in which they can be computed.

    Attributes:
        nodes: An `Input` first, the result last.
        arrivals: For a whole network of a space: its blocks without quantizers, each with the format its input has.

    Raises:
        ValueError: If a node takes what no node before it gives, or a name stands twice.
    """

    nodes: tuple[Node, ...]
    arrivals: tuple[tuple[NumberFormat, tuple[Node, ...]], ...] = ()

    def __post_init__(self) -> None:
        known: set[str] = set()
        for node in self.nodes:
            if missing := [name for name in node.inputs if name not in known]:
                raise ValueError(f"node '{node.name}' takes {missing}, which no node before it gives")
            if node.name in known:
                raise ValueError(f"two nodes are called '{node.name}'")
            known.add(node.name)

    def __getitem__(self, name: str) -> Node:
        return self.by_name[name]

    @property
    def by_name(self) -> dict[str, Node]:
        """The nodes by name."""
        return {node.name: node for node in self.nodes}

    @property
    def inputs(self) -> tuple[Node, ...]:
        """The nodes that take nothing: what is put into the network."""
        return tuple(node for node in self.nodes if not node.inputs)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of what the network takes, without the batch axis."""
        return self.nodes[0].shape

    @property
    def output(self) -> Node:
        """The last node."""
        return self.nodes[-1]


def consumers(nodes: Sequence[Node]) -> dict[str, list[Node]]:
    """Return, for every tensor, the nodes that take it, in order."""
    found: dict[str, list[Node]] = {node.name: [] for node in nodes}
    for node in nodes:
        for name in node.inputs:
            found[name].append(node)
    return found
