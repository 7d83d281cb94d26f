"""Slot: a place in a network that holds one block, or none; and where its inputs come from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from search_spaces.graph.node import Node
from search_spaces.space.choice import Option

Source = tuple[str, ...]
"""Names of earlier slots, nearest first: the first active one gives. `PREVIOUS` stands for all slots before."""

PREVIOUS: Source = ("<previous>",)


@dataclass(frozen=True)
class Slot:
    """A place in a network that holds one block, or none. Slots stand in order of computation.

    Attributes:
        name: Unique within the space.
        reads: Names of the choices that the block depends on, few.
        build: From the options of these choices to the nodes of the block, without quantizers: an `Input` for each source
            first (its shape is what the block takes), the result last, all of one precision. No nodes: the slot is inactive.
        sources: Where each input comes from. What has no slot to come from, as with the first one, the network takes.
    """

    name: str
    reads: tuple[str, ...]
    build: Callable[[Mapping[str, Option]], Sequence[Node]]
    sources: tuple[Source, ...] = (PREVIOUS,)
