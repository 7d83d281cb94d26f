"""Groups: which operators of a trained network share one choice of a number format, and the slots that they make.

A group follows the modules of the network where the file names them, otherwise the places that every path passes. Inside a
group each slot has one result: the operators whose results nobody needs but the slot.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from search_spaces.graph.node import Node
from search_spaces.importing.reader import Imported

MAX_LAYERS = 4  # with weights, in one group


@dataclass(frozen=True)
class SlotOfNodes:
    """Operators with one result, of one group.

    Attributes:
        group: Name of the group.
        nodes: The operators, the one that gives the result last.
    """

    group: str
    nodes: tuple[Node, ...]

    @property
    def name(self) -> str:
        """Name of the slot: of the operator that gives its result."""
        return self.nodes[-1].name


def group_nodes(imported: Imported, max_layers: int = MAX_LAYERS) -> dict[str, str]:
    """Return the group of every node but the inputs, by name.

    A module is a group if it has at most `max_layers` layers with weights; otherwise its parts are. Operators without
    weights whose module has none go with what they take.

    Args:
        imported: The network.
        max_layers: Layers with weights of one group, at most, where that is up to us.
    """
    nodes = [node for node in imported.nodes if node.inputs]
    layers = {node.name for node in nodes if has_layer(node)}
    paths = {node.name: tuple(filter(None, imported.scopes[node.name].split("."))) for node in nodes}
    named = (
        _by_module(nodes, layers, paths, max_layers)
        if any(paths[name] for name in layers)
        else _by_cuts(nodes, layers, max_layers)
    )
    first_layers = {name: group for name, group in named.items() if group}
    return _with_neighbours(nodes, first_layers)


def has_layer(node: Node) -> bool:
    """Return True if an operator has weights that can be held in integers."""
    return any(spec.quantized for spec in node.weights())


def cut_slots(nodes: Sequence[Node], group_of: Mapping[str, str], outputs: Sequence[str]) -> list[SlotOfNodes]:
    """Return the slots in an order in which they can be computed.

    A node joins the slot of those that take its result if they are all in one slot, of its own group; otherwise, and
    where the network gives it, its slot ends with it.

    Args:
        nodes: Of the network, without inputs.
        group_of: Group of each node.
        outputs: Nodes whose results the network gives.

    Source:
        Maximum fanout-free cones: Cong and Ding 1993 (DAC, 213).
    """
    taken_by = {name: list(each) for name, each in _consumers(nodes).items()}
    root: dict[str, str] = {}
    for node in reversed(nodes):
        roots = {root[other.name] for other in taken_by[node.name]}
        joins = len(roots) == 1 and node.name not in outputs and group_of[node.name] == group_of[next(iter(roots))]
        root[node.name] = roots.pop() if joins else node.name
    members: dict[str, list[Node]] = {}
    for node in nodes:
        members.setdefault(root[node.name], []).append(node)
    ends = [node.name for node in nodes if root[node.name] == node.name]
    return [SlotOfNodes(group_of[name], tuple(members[name])) for name in ends]


def _consumers(nodes: Sequence[Node]) -> dict[str, list[Node]]:
    given = {node.name for node in nodes}
    found: dict[str, list[Node]] = {name: [] for name in given}
    for node in nodes:
        for name in set(node.inputs) & given:
            found[name].append(node)
    return found


def _by_module(
    nodes: Sequence[Node], layers: set[str], paths: Mapping[str, tuple[str, ...]], max_layers: int
) -> dict[str, str]:
    """Return the module that stands for each node: the outermost that has few enough layers; empty where it has none."""
    counts: dict[tuple[str, ...], int] = {}
    for name in layers:
        for depth in range(len(paths[name]) + 1):
            counts[paths[name][:depth]] = counts.get(paths[name][:depth], 0) + 1
    found = {}
    for node in nodes:
        path = paths[node.name]
        depths = [d for d in range(1, len(path) + 1) if 0 < counts.get(path[:d], 0) <= max_layers]
        alone = node.name if node.name in layers else ""  # of a module that has more by itself
        found[node.name] = ".".join(path[: depths[0]]) if depths else alone
    return found


def _by_cuts(nodes: Sequence[Node], layers: set[str], max_layers: int) -> dict[str, str]:
    """Return a group for each stretch between two places that every path passes, called after its first layer.

    A stretch with more layers than `max_layers` has one group for each of them.
    """
    last_use = {node.name: i for i, node in enumerate(nodes)}
    for i, node in enumerate(nodes):
        for name in node.inputs:
            last_use[name] = max(last_use.get(name, i), i)
    stretches: list[list[Node]] = [[]]
    for i, node in enumerate(nodes):
        stretches[-1].append(node)
        alive = [other for other in nodes[: i + 1] if last_use[other.name] > i]
        if len(alive) <= 1 and any(each.name in layers for each in stretches[-1]):
            stretches.append([])
    found: dict[str, str] = {}
    for stretch in stretches:
        own = [node.name for node in stretch if node.name in layers]
        for name in own:
            found[name] = own[0] if len(own) <= max_layers else name
        if 0 < len(own) <= max_layers:
            found |= {node.name: own[0] for node in stretch}
    return {node.name: found.get(node.name, "") for node in nodes}


def _with_neighbours(nodes: Sequence[Node], named: Mapping[str, str]) -> dict[str, str]:
    """Return a group for every node: its own, or that of what it takes, or that of what takes it."""
    group_of = dict(named)
    for node in nodes:
        before = [group_of[name] for name in node.inputs if name in group_of]
        if node.name not in group_of and before:
            group_of[node.name] = before[-1]
    for node in reversed(nodes):
        behind = [group_of[each.name] for each in _consumers(nodes)[node.name] if each.name in group_of]
        if node.name not in group_of:
            group_of[node.name] = behind[0] if behind else "rest"
    return group_of
