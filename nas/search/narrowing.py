"""Narrowing: the options that a space loses least by, one after another, until few enough networks share its weights.

A part of a space is worth the hypervolume of its exact front of predicted rank and cost: over all costs at once, and without
running a network. Formats are never dropped: they share one set of weights, so they cost a network nothing.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from nas.search.exact import exact_front
from nas.search.pareto import Front, hypervolume
from search_spaces.costs import FactorTable
from search_spaces.space.baselines import format_genes
from search_spaces.space.choice import Choice, Option, count_networks
from search_spaces.space.narrowing import narrowing_factors
from search_spaces.space.space import SearchSpace


@dataclass(frozen=True)
class Drop:
    """An option that is dropped, of a choice and of those tied to it; or, without one, a tie of a choice to another one.

    Attributes:
        choice: Name of the choice.
        option: What it no longer offers; None where it is tied.
        leader: The choice whose option it takes from now on; empty where an option is dropped.
    """

    choice: str
    option: Option | None = None
    leader: str = ""

    def __str__(self) -> str:
        return f"{self.choice} as {self.leader}" if self.leader else f"{self.choice} without {self.option}"


@dataclass(frozen=True)
class Part:
    """A part of a space.

    Attributes:
        kept: Options that are left, by choice; of tied ones too.
        ties: See `search_spaces.space.narrowing.NarrowedSpace`.
        drops: What was dropped, in order, with the share of the hypervolume that it cost.
        size: Networks that are left, formats aside.
    """

    kept: Mapping[str, tuple[Option, ...]]
    ties: Mapping[str, str]
    drops: tuple[tuple[Drop, float], ...]
    size: int


@dataclass(frozen=True)
class _Scores:
    """What parts of a space are worth."""

    space: SearchSpace
    rank: FactorTable
    cost: FactorTable

    def front(self, part: Part) -> Front:
        allowed = narrowing_factors(self.space, part.kept, part.ties)
        return exact_front(self.space, {"rank": self.rank, "cost": self.cost}, allowed=allowed)

    def volume(self, front: Front, whole: Front) -> float:
        """Return the hypervolume of a front in units of the whole space's one, costs on a logarithmic scale."""
        if not len(front):
            return 0.0
        of_whole, values = (np.column_stack([f.values[:, 0], np.log(f.values[:, 1])]) for f in (whole, front))
        low, width = of_whole.min(axis=0), np.ptp(of_whole, axis=0)
        return hypervolume((values - low) / np.where(width > 0, width, 1), np.full(2, 1.1))


def narrow(space: SearchSpace, rank: FactorTable, cost: FactorTable, size: int) -> Part:
    """Drop options and tie alike choices of a stage, each time what costs least for a factor of size.

    Args:
        space: The space.
        rank: By what networks are ranked, as predicted; a sum.
        cost: What they cost on the device, above 0; a sum.
        size: Networks that may be left, formats aside.

    Returns:
        A part of at most so many networks, or of one where that is not to be had.

    Source:
        SpaceEvo, Wang et al. 2023, arXiv:2303.08308: a space is scored by what its networks reach within a latency. Differs:
        by the exact front over all latencies at once, and by elimination instead of evolution.
    """
    scores = _Scores(space, rank, cost)
    formats = {space.choices[gene].name for gene in format_genes(space)}
    part = Part({c.name: c.options for c in space.choices if c.name not in formats}, {}, (), n_architectures(space))
    front = whole = scores.front(part)
    volume = total = scores.volume(front, whole)
    known: dict[Drop, float] = {}  # what was found once is a good guess of what is found now
    while part.size > size:
        open_drops = {drop: _after(space, part, drop) for drop in _possible(space, part)}
        open_drops = {drop: after for drop, after in open_drops.items() if 0 < after.size < part.size}
        if not open_drops:
            break
        gain = {drop: math.log(part.size / after.size) for drop, after in open_drops.items()}
        unused = [drop for drop in open_drops if not _is_used(space, front, drop)]
        if unused:
            best, found = max(unused, key=lambda drop: gain[drop]), front
        else:
            best, found = _cheapest(scores, open_drops, gain, known, volume, whole)
        left = scores.volume(found, whole)
        part = replace(open_drops[best], drops=(*part.drops, (best, (volume - left) / total)))
        front, volume = found, left
    return part


def n_architectures(
    space: SearchSpace, kept: Mapping[str, tuple[Option, ...]] | None = None, ties: Mapping[str, str] | None = None
) -> int:
    """Return the number of networks of a space or of a part of it, formats aside; see `Part`."""
    formats, kept, ties = {space.choices[gene].name for gene in format_genes(space)}, kept or {}, ties or {}
    choices = [
        Choice(c.name, c.options[:1] if c.name in formats or c.name in ties else kept.get(c.name, c.options))
        for c in space.choices
    ]
    return count_networks(choices, space.conditions)


def _cheapest(
    scores: _Scores,
    drops: Mapping[Drop, Part],
    gain: Mapping[Drop, float],
    known: dict[Drop, float],
    volume: float,
    whole: Front,
) -> tuple[Drop, Front]:
    """Return the drop that costs least for a factor of size, and the front after it.

    Those that were cheapest before are looked at first; when the cheapest so far is cheaper than all others were the last
    time, the others are not looked at again: what is lost by an option grows as others go.
    """
    best: tuple[float, Drop, Front] | None = None
    for drop in sorted(drops, key=lambda each: known.get(each, -1.0)):
        if best and known.get(drop, -1.0) >= best[0]:
            break
        front = scores.front(drops[drop])
        known[drop] = (volume - scores.volume(front, whole)) / gain[drop]
        if best is None or known[drop] < best[0]:
            best = known[drop], drop, front
    assert best is not None
    return best[1], best[2]


def _possible(space: SearchSpace, part: Part) -> Iterator[Drop]:
    """Yield the drops that a part of a space allows: one option of a choice, or a tie within a stage."""
    leaders = [choice for choice in space.choices if choice.name in part.kept and choice.name not in part.ties]
    for choice in leaders:
        if len(part.kept[choice.name]) > 1:
            yield from (Drop(choice.name, option) for option in part.kept[choice.name])
    seen: dict[tuple[str, str], Choice] = {}
    for choice in leaders:
        first = seen.setdefault(_kind(choice), choice)
        if first is choice or len(part.kept[choice.name]) < 2 or not _may_lead(space, first.name, choice.name):
            continue
        if part.kept[first.name] == part.kept[choice.name]:
            yield Drop(choice.name, leader=first.name)


def _kind(choice: Choice) -> tuple[str, str]:
    """Return the stage of a choice and what it is about, as `stage1` and `kernel` of `stage1/block2/kernel`."""
    return choice.name.partition("/")[0], choice.name.rpartition("/")[2]


def _may_lead(space: SearchSpace, leader: str, name: str) -> bool:
    theirs, mine = space.conditions.get(leader), space.conditions.get(name)
    return theirs is None or (mine is not None and theirs.choice == mine.choice)


def _after(space: SearchSpace, part: Part, drop: Drop) -> Part:
    if drop.leader:
        moved = {name: drop.leader if leader == drop.choice else leader for name, leader in part.ties.items()}
        ties: Mapping[str, str] = {**moved, drop.choice: drop.leader}
        kept = part.kept
    else:
        group = {drop.choice, *(name for name, leader in part.ties.items() if leader == drop.choice)}
        ties = part.ties
        kept = {n: tuple(o for o in options if n not in group or o != drop.option) for n, options in part.kept.items()}
    return Part(kept, ties, part.drops, n_architectures(space, kept, ties))


def _is_used(space: SearchSpace, front: Front, drop: Drop) -> bool:
    """Return True if a network of a front would be lost by a drop."""
    if not len(front):
        return False
    matters, gene = space.mask(front.genomes), space.gene[drop.choice]
    if drop.leader:
        leader = space.gene[drop.leader]
        differs = front.genomes[:, gene] != front.genomes[:, leader]
        return bool((differs & matters[:, gene] & matters[:, leader]).any())
    options = space.choices[gene].options
    is_it = front.genomes[:, gene] == (options.index(drop.option) if drop.option is not None else -1)
    return bool((is_it & matters[:, gene]).any())
