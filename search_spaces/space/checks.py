"""Checks of a space when it is made: what its slots give and take fits together in every network."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from search_spaces.errors import InvalidInputError
from search_spaces.graph.node import Node
from search_spaces.operators.ends import Output
from search_spaces.space.assembly import block_inputs, check_agreement
from search_spaces.space.factor import Factor, combine
from search_spaces.space.slots import PREVIOUS

if TYPE_CHECKING:
    from search_spaces.space.routes import Route
    from search_spaces.space.space import SearchSpace

MAX_COMBINATIONS = 1_000_000  # of genes that one check looks at; what has more is checked network by network


def check_sources(space: "SearchSpace") -> None:
    """Check names: of slots, and of the earlier ones that they name as sources.

    Raises:
        InvalidInputError: If a name stands twice or a source is no earlier slot.
    """
    names = [slot.name for slot in space.slots]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InvalidInputError(f"the slots of space '{space.name}' need distinct names; {twice} stand twice")
    for j, slot in enumerate(space.slots):
        named = {name for source in slot.sources if source != PREVIOUS for name in source}
        if wrong := sorted(named - set(names[:j])):
            raise InvalidInputError(f"slot '{slot.name}' takes from {wrong}, which are no slots before it")


def check_slots(space: "SearchSpace") -> None:
    """Check every block and every pair of blocks that can meet.

    Raises:
        InvalidInputError: If a block has another number of inputs than its slot has sources; if a tensor is given in another
            shape or type than it is taken in; if in some network an input has no slot to come from, or a result no slot
            that takes it and is no output.
    """
    for slot, factor in zip(space.slots, space.blocks, strict=True):
        for block in (block for block in factor.values.flat if block):
            if (n := len(block_inputs(block))) != len(slot.sources):
                raise InvalidInputError(
                    f"slot '{slot.name}' has {len(slot.sources)} sources, but its block takes {n} inputs; "
                    "there must be one `Input` for each source"
                )
    for factor in space.transitions(lambda block: block[-1], lambda block, position: block_inputs(block)[position]):
        for given, taken in _met(space, factor):
            try:
                check_agreement(taken, given)
            except ValueError as error:
                raise InvalidInputError(f"space '{space.name}': {error}") from error
    for j, slot in enumerate(space.slots):
        for k in range(len(slot.sources)):
            routes = [route for route in space.routes if (route.consumer, route.position) == (j, k)]
            if routes and (genes := _unfed(space, routes)):
                raise InvalidInputError(
                    f"space '{space.name}': input {k + 1} of slot '{slot.name}' has no slot to come from where {genes}"
                )
    for i, slot in enumerate(space.slots[:-1]):  # what the last one gives is the network's result
        if genes := _untaken(space, i):
            raise InvalidInputError(
                f"space '{space.name}': nobody takes what slot '{slot.name}' gives where {genes}; "
                "name it as a source, or end its block in an `Output`"
            )


def _met(space: "SearchSpace", factor: Factor) -> set[tuple[Node, Node]]:
    """Return the pairs of an edge that some network has."""
    values = factor.values[canonical(space, factor.genes)]
    return {pair for pair in values.flat if pair is not None}


def _unfed(space: "SearchSpace", routes: "Sequence[Route]") -> str:
    """Return options with which no candidate of an input of an active slot is active; empty if there are none."""
    factors = [space.active[routes[0].consumer], *(space.active[route.producer] for route in routes)]
    return _first(space, factors, lambda takes, *sources: takes and not any(sources))


def _untaken(space: "SearchSpace", producer: int) -> str:
    """Return options with which nobody takes what an active slot gives, and it is no output; empty if there are none."""
    needs = combine(lambda block: bool(block) and not isinstance(block[-1], Output), [space.blocks[producer]]).reduced()
    routes = [route for route in space.routes if route.producer == producer]
    lengths = [1 + len(route.nearer) for route in routes]
    factors = [needs]
    for route in routes:
        factors += [space.active[route.consumer], *(space.active[i] for i in route.nearer)]

    def is_untaken(gives: bool, *others: bool) -> bool:
        start, taken = 0, False
        for length in lengths:
            takes, *nearer = others[start : start + length]
            taken |= takes and not any(nearer)
            start += length
        return gives and not taken

    return _first(space, factors, is_untaken)


def _first(space: "SearchSpace", factors: Sequence[Factor], holds: Callable[..., bool]) -> str:
    """Return the first options, in words, for which a function of factors holds in some network; empty if there are none."""
    genes = {gene for factor in factors for gene in factor.genes}
    if np.prod([len(space.choices[gene].options) for gene in genes]) > MAX_COMBINATIONS:
        return ""
    factor = combine(holds, factors)
    wrong = np.argwhere(factor.values.astype(bool) & canonical(space, factor.genes))
    if not len(wrong):
        return ""
    chosen = [(space.choices[gene], i) for gene, i in zip(factor.genes, wrong[0], strict=True)]
    return " and ".join(f"{choice.name} is {choice.options[i]}" for choice, i in chosen) or "always"


def canonical(space: "SearchSpace", genes: Sequence[int]) -> NDArray[np.bool_]:
    """Return which combinations of some genes canonical genomes have: what does not matter is at its first option."""
    shape = tuple(len(space.choices[gene].options) for gene in genes)
    allowed = np.ones(shape, dtype=bool)
    place = {space.choices[gene].name: axis for axis, gene in enumerate(genes)}
    for name in set(place) & set(space.conditions):
        parent, active_for = space.activation(name)
        parent_name = space.choices[parent].name
        if parent_name in place:
            index = np.indices(shape)
            allowed &= active_for[index[place[parent_name]]] | (index[place[name]] == 0)
    return allowed
