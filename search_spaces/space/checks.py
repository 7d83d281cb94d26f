"""Checks of a space when it is made: what its slots give and take fits together in every network."""

import math
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from search_spaces.errors import InvalidInputError
from search_spaces.graph.graph import consumers
from search_spaces.operators.ends import Output
from search_spaces.space.assembly import Block, block_inputs, check_agreement
from search_spaces.space.factor import Factor, any_of, combine
from search_spaces.space.slots import PREVIOUS, Slot

if TYPE_CHECKING:
    from search_spaces.space.routes import Route
    from search_spaces.space.space import SearchSpace

MAX_COMBINATIONS = 1_000_000  # of genes that one check looks at; what has more is checked network by network


def check_sources(space: "SearchSpace") -> None:
    """Check names: of slots, and of the earlier ones that they name as sources.

    Raises:
        InvalidInputError: If a name stands twice, or a source is no tuple of earlier slots.
    """
    names = [slot.name for slot in space.slots]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InvalidInputError(f"the slots of space '{space.name}' need distinct names; {twice} stand twice")
    for j, slot in enumerate(space.slots):
        if words := [source for source in slot.sources if isinstance(source, str)]:
            raise InvalidInputError(
                f"a source of slot '{slot.name}' is a tuple of names, as in sources=(('{words[0]}',),); got '{words[0]}'"
            )
        named = {name for source in slot.sources if source != PREVIOUS for name in source}
        if wrong := sorted(named - set(names[:j])):
            raise InvalidInputError(f"slot '{slot.name}' takes from {wrong}, which are no slots before it")


def check_slots(space: "SearchSpace") -> None:
    """Check every block and every pair of blocks that can meet.

    Raises:
        InvalidInputError: If a block has another number of inputs than its slot has sources, or an operator that nobody
            takes; if a tensor is given in another shape or type than it is taken in, or an output is taken; if in some
            network an input has no slot to come from, or a result no slot that takes it, and it is no output nor the last.
    """
    for slot, factor in zip(space.slots, space.blocks, strict=True):
        for block in (block for block in factor.values.flat if block):
            _check_block(slot, block)
    given_and_taken = space.transitions(
        lambda block: (isinstance(block[-1], Output), block[-1].outputs[0]),
        lambda block, position: block_inputs(block)[position].outputs[0],
    )
    for factor in given_and_taken:
        for (is_output, given), taken in _met(space, factor):
            if is_output:
                raise InvalidInputError(
                    f"space '{space.name}': '{taken.name}' takes the output '{given.name}'; an output is taken by nobody, "
                    "so name the sources of that slot"
                )
            try:
                check_agreement(taken, given)
            except ValueError as error:
                raise InvalidInputError(f"space '{space.name}': {error}") from error
    for j, slot in enumerate(space.slots):
        for k in range(len(slot.sources)):
            routes = [route for route in space.routes if (route.consumer, route.position) == (j, k)]
            if routes and (options := _unfed(space, routes)):
                raise InvalidInputError(
                    f"space '{space.name}': input {k + 1} of slot '{slot.name}' has no slot to come from where {options}"
                )
        if options := _unused(space, j):
            raise InvalidInputError(
                f"space '{space.name}': nobody takes what slot '{slot.name}' gives where {options}; "
                "name it as a source, or end its block in an `Output`"
            )


def _check_block(slot: Slot, block: Block) -> None:
    if (n := len(block_inputs(block))) != len(slot.sources):
        raise InvalidInputError(
            f"slot '{slot.name}' has {len(slot.sources)} sources, but its block takes {n} inputs; "
            "there must be one `Input` for each source"
        )
    for node in block:
        if node.precision.is_grouped and not node.takes_groups and any(spec.quantized for spec in node.weights()):
            raise InvalidInputError(
                f"slot '{slot.name}': '{node.op}' has no kernel for '{node.precision.name}', which is for layers on tokens"
            )
    consumers_of = consumers(block)
    if idle := [node.name for node in block[:-1] if not consumers_of[node.name]]:
        raise InvalidInputError(f"slot '{slot.name}': nobody in the block takes {idle}; its result is its last operator")


def _met(space: "SearchSpace", factor: Factor) -> set[tuple[Any, Any]]:
    """Return the pairs of an edge that some network has."""
    if _is_too_large(space, factor.genes):
        return set()
    return {pair for pair in factor.values[canonical(space, factor.genes)].flat if pair is not None}


def _unfed(space: "SearchSpace", routes: "Sequence[Route]") -> str:
    """Return options with which no candidate of an input of an active slot is active; empty if there are none."""
    sources = any_of([space.active[route.producer] for route in routes])
    return _first(space, [space.active[routes[0].consumer], sources], lambda takes, is_fed: takes and not is_fed)


def _unused(space: "SearchSpace", producer: int) -> str:
    """Return options with which nobody takes what an active slot gives, and it is no output nor the last result."""
    needs = combine(lambda block: bool(block) and not isinstance(block[-1], Output), [space.blocks[producer]]).reduced()
    taken = []
    for route in (route for route in space.routes if route.producer == producer):
        nearer = any_of([space.active[i] for i in route.nearer])
        taken.append(combine(lambda takes, is_nearer: takes and not is_nearer, [space.active[route.consumer], nearer]))
    later = any_of(space.active[producer + 1 :])
    return _first(space, [needs, any_of(taken), later], lambda gives, is_taken, goes_on: gives and goes_on and not is_taken)


def _first(space: "SearchSpace", factors: Sequence[Factor], holds: Callable[..., bool]) -> str:
    """Return the first options, in words, for which a function of factors holds in some network; empty if there are none."""
    if _is_too_large(space, {gene for factor in factors for gene in factor.genes}):
        return ""
    factor = combine(holds, factors)
    wrong = np.argwhere(factor.values.astype(bool) & canonical(space, factor.genes))
    if not len(wrong):
        return ""
    chosen = [(space.choices[gene], i) for gene, i in zip(factor.genes, wrong[0], strict=True)]
    return " and ".join(f"{choice.name} is {choice.options[i]}" for choice, i in chosen) or "always"


def _is_too_large(space: "SearchSpace", genes: Collection[int]) -> bool:
    return math.prod(len(space.choices[gene].options) for gene in genes) > MAX_COMBINATIONS


def canonical(space: "SearchSpace", genes: Sequence[int]) -> NDArray[np.bool_]:
    """Return which combinations of some genes canonical genomes have: what does not matter is at its first option."""
    shape = tuple(len(space.choices[gene].options) for gene in genes)
    allowed = np.ones(shape, dtype=bool)
    axis_of = {space.choices[gene].name: axis for axis, gene in enumerate(genes)}
    for name in set(axis_of) & set(space.conditions):
        parent, active_for = space.activation(name)
        if (axis := axis_of.get(space.choices[parent].name)) is not None:
            index = np.indices(shape)
            allowed &= active_for[index[axis]] | (index[axis_of[name]] == 0)
    return allowed
