"""Routes: which slot can give an input of which other one; and factors of what flows along them."""

import itertools
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from search_spaces.precision.formats import FLOAT32
from search_spaces.space.assembly import Block, border
from search_spaces.space.factor import Factor, any_of, combine
from search_spaces.space.slots import PREVIOUS, Slot, Source


@dataclass(frozen=True, order=True)
class Route:
    """A slot gives an input of a later one where both are active and no nearer candidate is.

    Attributes:
        producer: Index of the slot that gives.
        consumer: Index of the slot that takes.
        position: Which of its inputs.
        nearer: Indices of the candidates that come before `producer`.
    """

    producer: int
    consumer: int
    position: int
    nearer: tuple[int, ...]


def candidates(names: Sequence[str], consumer: int, source: Source) -> tuple[int, ...]:
    """Return the indices of the slots that a source names, nearest first."""
    return tuple(reversed(range(consumer))) if source == PREVIOUS else tuple(names.index(name) for name in source)


def find_routes(slots: Sequence[Slot], active: Sequence[Factor]) -> tuple[Route, ...]:
    """Return every route, in the order of their producers.

    Args:
        slots: Of a space.
        active: For each whether it is active; what stands behind a slot that always is gives nothing.
    """
    names = [slot.name for slot in slots]
    found = []
    for j, slot in enumerate(slots):
        for k, source in enumerate(slot.sources):
            nearer: tuple[int, ...] = ()
            for i in candidates(names, j, source):
                found.append(Route(i, j, k, nearer))
                if is_always(active[i]):
                    break
                nearer = (*nearer, i)
    return tuple(sorted(found))


def is_always(active: Factor) -> bool:
    """Return True if a slot is active in every network."""
    return not active.genes and bool(active.values.item())


def transitions(
    routes: Sequence[Route],
    blocks: Sequence[Factor],
    active: Sequence[Factor],
    give: Callable[[Block], Hashable],
    take: Callable[[Block, int], Hashable],
) -> tuple[Factor, ...]:
    """Return for every route `(give(producer), take(consumer, position))`, or None where nothing flows along it.

    Args:
        routes: Of the space.
        blocks: Of each slot, without quantizers, None where it is inactive.
        active: For each slot whether it is active.
        give: What matters of a block that gives; the less it tells apart, the smaller are the factors. None: nothing.
        take: What matters of a block that takes, and of the position of its input.
    """
    given = [combine(lambda block: give(block) if block else None, [factor]).reduced() for factor in blocks]
    taken: dict[tuple[int, int], Factor] = {}
    found = []
    for route in routes:
        key = route.consumer, route.position
        if key not in taken:
            taken[key] = _taken(blocks[route.consumer], take, route.position)
        factor = combine(_transition, [given[route.producer], taken[key], any_of([active[i] for i in route.nearer])])
        if any(value is not None for value in factor.values.flat):
            found.append(factor)
    return tuple(found)


def incoming(
    slots: Sequence[Slot], routes: Sequence[Route], blocks: Sequence[Factor], active: Sequence[Factor]
) -> tuple[Factor, ...]:
    """Return for every slot and every combination of producers `(formats, block)`, or None where they do not come together.

    `formats` are those in which the inputs of the block arrive. In every network each active slot stands in exactly one
    factor that is not None.
    """
    borders = [combine(lambda block: border(block) if block else None, [factor]).reduced() for factor in blocks]
    found = []
    for j, slot in enumerate(slots):
        by_position: list[list[Route | None]] = [[] for _ in slot.sources]
        for route in (route for route in routes if route.consumer == j):
            by_position[route.position].append(route)
        for chosen in itertools.product(*(options or [None] for options in by_position)):
            factor = _incoming(blocks[j], chosen, borders, active)
            if any(value is not None for value in factor.values.flat):
                found.append(factor)
    return tuple(found)


def _incoming(block: Factor, chosen: Sequence[Route | None], borders: Sequence[Factor], active: Sequence[Factor]) -> Factor:
    """Return the formats that the chosen producers give a block, and the block; None where they are not its producers."""
    nearer = any_of([active[i] for route in chosen if route for i in route.nearer])
    given = [borders[route.producer] for route in chosen if route]

    def come_together(taken: Block | None, is_nearer: bool, *borders: Any) -> tuple[tuple[Any, ...], Block] | None:
        remaining = iter(borders)
        formats = tuple(next(remaining) if route else FLOAT32 for route in chosen)
        return None if taken is None or None in formats or is_nearer else (formats, taken)

    return combine(come_together, [block, nearer, *given])


def _taken(factor: Factor, take: Callable[[Block, int], Hashable], position: int) -> Factor:
    return combine(lambda block: take(block, position) if block else None, [factor]).reduced()


def _transition(given: Hashable, taken: Hashable, is_nearer: bool) -> tuple[Hashable, Hashable] | None:
    return None if given is None or taken is None or is_nearer else (given, taken)
