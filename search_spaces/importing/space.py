"""The search space of a trained network: the same network, with a number format to choose for each group of operators."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property, partial

import numpy as np

from search_spaces.errors import InvalidInputError
from search_spaces.graph.graph import Graph
from search_spaces.graph.node import Node
from search_spaces.importing.groups import MAX_LAYERS, SlotOfNodes, cut_slots, group_nodes, has_layer
from search_spaces.importing.reader import Imported
from search_spaces.operators.ends import Input, Output
from search_spaces.operators.linear import Linear
from search_spaces.precision.placement import gives_float
from search_spaces.precision.scheme import FLOAT, QuantScheme, check_formats
from search_spaces.space.choice import Choice, Option
from search_spaces.space.slots import Slot
from search_spaces.space.space import SearchSpace

FORMATS = ("float32", "w8a8", "w4a8")


@dataclass(frozen=True)
class Adopted:
    """A trained network as a search space with weights.

    Attributes:
        imported: What was read.
        slots: Its slots, in an order in which they can be computed.
        groups: Those that have a choice: names as the file has them, with dots, and the formats that each may have.
        name: Of the space.
    """

    imported: Imported
    slots: tuple[SlotOfNodes, ...]
    groups: Mapping[str, tuple[str, ...]]
    name: str = "adopted"

    @cached_property
    def space(self) -> SearchSpace:
        """The space: one choice, `GROUP/format`, for each group."""
        return self._space(self.groups)

    def in_format(self, name: str) -> Graph:
        """Return the whole network in one format, whether its groups may have that or not."""
        space = self._space(dict.fromkeys(self.groups, (name,)))
        return space.subnet(np.zeros(len(self.groups), np.int16)).graph

    def _space(self, formats: Mapping[str, tuple[str, ...]]) -> SearchSpace:
        nodes = {node.name: node for node in self.imported.nodes}
        inputs = [node for node in self.imported.nodes if not node.inputs]
        slots = [Slot(node.name, (), partial(_input, node), sources=((),)) for node in inputs]
        slot_of = {node.name: node.name for node in inputs} | {slot.name: slot.name for slot in self.slots}
        own = _own_outputs(list(nodes.values()), self.imported.outputs)
        for slot in self.slots:
            sources = _sources(slot)
            reads = (choice_name(slot.group),) if slot.group in formats else ()
            build = partial(_block, slot, tuple(nodes[s] for s in sources), own.get(slot.name), reads)
            slots.append(Slot(slot.name, reads, build, sources=tuple((slot_of[s],) for s in sources)))
        for output, given in self.imported.outputs.items():
            if own.get(given) != output:
                slots.append(Slot(f"{output}:output", (), partial(_output, output, nodes[given]), sources=((given,),)))
        return SearchSpace(self.name, [Choice(choice_name(group), own) for group, own in formats.items()], slots)


def choice_name(group: str) -> str:
    """Return the name of the choice of a group."""
    return f"{group.replace('.', '/')}/format"


def adopt(
    imported: Imported,
    name: str = "adopted",
    *,
    formats: Sequence[str] = FORMATS,
    fixed: Mapping[str, Sequence[str]] | None = None,
    max_layers: int = MAX_LAYERS,
) -> Adopted:
    """Return a trained network as a space.

    Args:
        imported: The network.
        name: Of the space.
        formats: That every group may have.
        fixed: For patterns of names of groups, as `_blocks.0` or `encoder.*`, the formats that they may have instead; the
            last pattern that fits counts.
        max_layers: Layers with weights in one group, at most.

    Raises:
        InvalidInputError: If no operator has weights that could be held in integers, a format is unknown, or a pattern fits
            no group.
    """
    nodes = [node for node in imported.nodes if node.inputs]
    group_of = group_nodes(imported, max_layers)
    weighted = dict.fromkeys(group_of[node.name] for node in nodes if has_layer(node))
    if not weighted:
        raise InvalidInputError("the model has no convolution or linear layer that hwnas knows: there is nothing to choose")
    options = dict.fromkeys(weighted, check_formats(formats))
    for pattern, own in (fixed or {}).items():
        fitting = [group for group in weighted if fnmatchcase(group, pattern)]
        if not fitting:
            raise InvalidInputError(f"no group is called '{pattern}'; the groups are {', '.join(weighted)}")
        options |= dict.fromkeys(fitting, check_formats(own))
    slots = tuple(cut_slots(nodes, group_of, list(imported.outputs.values())))
    return Adopted(imported, slots, options, name)


def _own_outputs(nodes: Sequence[Node], outputs: Mapping[str, str]) -> dict[str, str]:
    """Return the outputs that stand in the slot of the node that gives them, by its name.

    Nobody else takes its result, and it has that in float32: a convolution in integers has a kernel only if its result is
    rounded, too. Where there are several, each has a slot of its own, so that they keep their order.
    """
    if len(outputs) > 1:
        return {}
    taken = {name for node in nodes for name in node.inputs}
    taken |= {node.name for node in nodes if not (gives_float(node) or isinstance(node, Linear))}
    given = list(outputs.values())
    return {
        node: output for output, node in outputs.items() if node not in taken and given.count(node) == 1 and node != output
    }


def _sources(part: SlotOfNodes) -> list[str]:
    """Return what a slot takes of others, each once, in order."""
    own = {node.name for node in part.nodes}
    return list(dict.fromkeys(name for node in part.nodes for name in node.inputs if name not in own))


def _input(node: Node, values: Mapping[str, Option]) -> Sequence[Node]:  # noqa: ARG001
    return (node,)


def _block(
    part: SlotOfNodes, sources: Sequence[Node], output: str | None, reads: Sequence[str], values: Mapping[str, Option]
) -> Sequence[Node]:
    precision = QuantScheme.from_name(str(values[reads[0]])) if reads else FLOAT
    taken = {node.name: f"{part.name}/input{k}" for k, node in enumerate(sources, start=1)}
    built: list[Node] = [_as_input(node, taken[node.name], precision) for node in sources]
    given = {node.name: tuple(taken.get(name, name) for name in node.inputs) for node in part.nodes}
    built += [replace(node, inputs=given[node.name], precision=precision) for node in part.nodes]
    if output:
        built.append(_as_output(part.nodes[-1], output, precision))
    return built


def _output(output: str, given: Node, values: Mapping[str, Option]) -> Sequence[Node]:  # noqa: ARG001
    taken = _as_input(given, f"{output}:output/input1", FLOAT)
    return taken, _as_output(taken, output, FLOAT)


def _as_input(node: Node, name: str, precision: QuantScheme) -> Input:
    (tensor,) = node.outputs
    return Input(name=name, shape=tensor.shape, dtype=tensor.dtype, batched=tensor.batched, precision=precision)


def _as_output(node: Node, name: str, precision: QuantScheme) -> Output:
    (tensor,) = node.outputs
    settings = {"shape": tensor.shape, "dtype": tensor.dtype, "batched": tensor.batched, "precision": precision}
    return Output(name=name, inputs=(node.name,), **settings)  # type: ignore[arg-type]
