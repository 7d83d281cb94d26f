"""The search space of a trained network: the same network, with a number format to choose for each group of operators."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial

from search_spaces.errors import InvalidInputError
from search_spaces.graph.node import Node
from search_spaces.importing.groups import MAX_LAYERS, SlotOfNodes, cut_slots, group_nodes, has_layer
from search_spaces.importing.reader import Imported
from search_spaces.operators.ends import Input, Output
from search_spaces.precision.formats import FLOAT, Precision, check_formats
from search_spaces.space.choice import Choice, Option
from search_spaces.space.slots import Slot
from search_spaces.space.space import SearchSpace

FORMATS = ("float32", "w8a8", "w4a8")


@dataclass(frozen=True)
class Adopted:
    """A trained network as a search space with weights.

    Attributes:
        space: One choice, `GROUP/format`, for each group that has weights.
        imported: What was read.
        groups: Names of the groups as the file has them, with dots, by name of the choice.
    """

    space: SearchSpace
    imported: Imported
    groups: Mapping[str, str]


def adopt(
    imported: Imported,
    name: str = "adopted",
    *,
    formats: Sequence[str] = FORMATS,
    fixed: Mapping[str, Sequence[str]] | None = None,
    max_layers: int = MAX_LAYERS,
) -> Adopted:
    """Return the space of a trained network.

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
    offered = check_formats(formats)
    inputs = [node for node in imported.nodes if not node.inputs]
    nodes = [node for node in imported.nodes if node.inputs]
    group_of = group_nodes(imported, max_layers)
    weighted = dict.fromkeys(group_of[node.name] for node in nodes if has_layer(node))
    if not weighted:
        raise InvalidInputError("the model has no convolution or linear layer that hwnas knows: there is nothing to choose")
    names = {group: f"{group.replace('.', '/')}/format" for group in weighted}
    options = dict.fromkeys(weighted, offered)
    for pattern, own in (fixed or {}).items():
        fitting = [group for group in weighted if fnmatchcase(group, pattern)]
        if not fitting:
            raise InvalidInputError(f"no group is called '{pattern}'; the groups are {', '.join(weighted)}")
        options |= dict.fromkeys(fitting, check_formats(own))
    by_name = {node.name: node for node in imported.nodes}
    slots = [Slot(node.name, (), partial(_input, node), sources=((),)) for node in inputs]
    slot_of = {node.name: node.name for node in inputs}
    own_outputs = _own_outputs(nodes, imported.outputs)
    for part in cut_slots(nodes, group_of, list(imported.outputs.values())):
        slot_of[part.name] = part.name
        sources = _sources(part)
        reads = (names[part.group],) if part.group in weighted else ()
        build = partial(_block, part, tuple(by_name[s] for s in sources), own_outputs.get(part.name), reads)
        slots.append(Slot(part.name, reads, build, sources=tuple((slot_of[s],) for s in sources)))
    for output, given in imported.outputs.items():
        if own_outputs.get(given) != output:
            slots.append(Slot(f"{output}:output", (), partial(_output, output, by_name[given]), sources=((given,),)))
    choices = [Choice(names[group], options[group]) for group in weighted]
    return Adopted(SearchSpace(name, choices, slots), imported, {names[group]: group for group in weighted})


def _own_outputs(nodes: Sequence[Node], outputs: Mapping[str, str]) -> dict[str, str]:
    """Return the outputs that stand in the slot of the node that gives them, by its name: nobody else takes its result."""
    taken = {name for node in nodes for name in node.inputs}
    given = list(outputs.values())
    return {node: output for output, node in outputs.items() if node not in taken and given.count(node) == 1 and node != output}


def _sources(part: SlotOfNodes) -> list[str]:
    """Return what a slot takes of others, each once, in order."""
    own = {node.name for node in part.nodes}
    return list(dict.fromkeys(name for node in part.nodes for name in node.inputs if name not in own))


def _input(node: Node, values: Mapping[str, Option]) -> Sequence[Node]:  # noqa: ARG001
    return (node,)


def _block(
    part: SlotOfNodes, sources: Sequence[Node], output: str | None, reads: Sequence[str], values: Mapping[str, Option]
) -> Sequence[Node]:
    precision = Precision.from_name(str(values[reads[0]])) if reads else FLOAT
    taken = {node.name: f"{part.name}/input{k}" for k, node in enumerate(sources, start=1)}
    built: list[Node] = [_as_input(node, taken[node.name], precision) for node in sources]
    for node in part.nodes:
        built.append(replace(node, inputs=tuple(taken.get(name, name) for name in node.inputs), precision=precision))
    if output:
        built.append(_as_output(part.nodes[-1], output, precision))
    return built


def _output(output: str, given: Node, values: Mapping[str, Option]) -> Sequence[Node]:  # noqa: ARG001
    taken = _as_input(given, f"{output}:output/input1", FLOAT)
    return taken, _as_output(taken, output, FLOAT)


def _as_input(node: Node, name: str, precision: Precision) -> Input:
    (tensor,) = node.outputs
    return Input(name=name, shape=tensor.shape, dtype=tensor.dtype, batched=tensor.batched, precision=precision)


def _as_output(node: Node, name: str, precision: Precision) -> Output:
    (tensor,) = node.outputs
    settings = {"shape": tensor.shape, "dtype": tensor.dtype, "batched": tensor.batched, "precision": precision}
    return Output(name=name, inputs=(node.name,), **settings)  # type: ignore[arg-type]
