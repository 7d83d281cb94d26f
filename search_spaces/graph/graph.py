"""Graph: the typed network, the one definition that everything else reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from search_spaces.graph.node import Node


@dataclass(frozen=True)
class Graph:
    """A network, or a block on its own: nodes in an order in which they can be computed.

    Attributes:
        nodes: An `Input` first, the result last.
        block_of: For a whole network of a space: the slot that each node belongs to, by name of the node.

    Raises:
        ValueError: If a node takes what no node before it gives, or a name stands twice.
    """

    nodes: tuple[Node, ...]
    block_of: Mapping[str, str] = field(default_factory=dict, compare=False)

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

    @cached_property
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

    @cached_property
    def outputs(self) -> tuple[Node, ...]:
        """The nodes whose tensors nobody takes: what the network gives."""
        taken = {name for node in self.nodes for name in node.inputs}
        return tuple(node for node in self.nodes if node.name not in taken)

    @property
    def blocks(self) -> dict[str, tuple[Node, ...]]:
        """For a whole network of a space: the nodes of each of its blocks by name of the slot, quantizers included."""
        found: dict[str, tuple[Node, ...]] = {}
        for node in self.nodes:
            name = self.block_of[node.name]
            found[name] = (*found.get(name, ()), node)
        return found


def consumers(nodes: Sequence[Node]) -> dict[str, list[Node]]:
    """Return, for every tensor, the nodes that take it, in order."""
    found: dict[str, list[Node]] = {node.name: [] for node in nodes}
    for node in nodes:
        for name in node.inputs:
            found[name].append(node)
    return found
