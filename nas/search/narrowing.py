"""Narrowing: the options that a space loses least by, one after another, until few enough networks share its weights.

A part of a space is worth two hypervolumes: that of its exact front of predicted rank and cost, over all costs at once and
without running a network, and that of the measured front's networks that are left in it. Formats are never dropped: they
share one set of weights, so they cost a network nothing.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nas.search.exact import exact_front
from nas.search.pareto import Front, hypervolume
from search_spaces.costs import FactorTable
from search_spaces.space.baselines import format_genes
from search_spaces.space.choice import Choice, Option, count_networks
from search_spaces.space.narrowing import narrowing_factors
from search_spaces.space.space import Genomes, SearchSpace


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
        drops: What was dropped, in order, with the share of the hypervolumes that it cost.
        size: Networks that are left, formats aside.
    """

    kept: Mapping[str, tuple[Option, ...]]
    ties: Mapping[str, str]
    drops: tuple[tuple[Drop, float], ...]
    size: int


@dataclass(frozen=True)
class _Worth:
    """What parts of a space are worth.

    Attributes:
        space: The whole space.
        tables: Predicted rank and cost.
        measured: The front that was measured, by the same two.
        whole: The exact front of the whole space.
    """

    space: SearchSpace
    tables: Mapping[str, FactorTable]
    measured: Front
    whole: Front

    def __call__(self, part: Part, front: Front | None = None) -> tuple[float, Front]:
        """Return the mean share of the two hypervolumes that is left in a part, and its exact front, which may be empty.

        Args:
            part: The part.
            front: Its exact front, where it is known.
        """
        allowed = narrowing_factors(self.space, part.kept, part.ties)
        if front is None:
            front = exact_front(self.space, self.tables, allowed=allowed)
        is_left = np.ones(len(self.measured), dtype=bool)
        for factor in allowed:
            is_left &= factor(self.measured.genomes).astype(bool)
        left = self.measured.values[is_left]
        return (_share(front.values, self.whole.values) + _share(left, self.measured.values)) / 2, front


def _share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> float:
    """Return the hypervolume of points of rank and cost, shape `(n, 2)`, over that of a front that holds or beats them.

    Costs count by their logarithm, and the worst of the front lies a tenth of its width before the reference.
    """
    whole, part = (np.column_stack([points[:, 0], np.log(points[:, 1])]) for points in (whole, part))
    low, width = whole.min(axis=0), np.ptp(whole, axis=0)
    scale, reference = np.where(width > 0, width, 1), np.full(2, 1.1)
    return hypervolume((part - low) / scale, reference) / hypervolume((whole - low) / scale, reference)


def narrow(space: SearchSpace, rank: FactorTable, cost: FactorTable, size: int, measured: Front) -> Part:
    """Drop options and tie alike choices of a stage, each time what costs least for a factor of size.

    Args:
        space: The space.
        rank: By what networks are ranked, as predicted; a sum.
        cost: What they cost on the device, above 0; a sum.
        size: Networks that may be left, formats aside.
        measured: The front that was found, by measured rank and cost.

    Returns:
        A part of at most so many networks, or of one where that is not to be had.

    Source:
        SpaceEvo, Wang et al. 2023, arXiv:2303.08308: a space is scored by what its networks reach within a latency. Differs:
        by the exact front over all latencies at once and what was measured, and by elimination instead of evolution.
    """
    formats, tables = {space.choices[gene].name for gene in format_genes(space)}, {"rank": rank, "cost": cost}
    part = Part({c.name: c.options for c in space.choices if c.name not in formats}, {}, (), n_architectures(space))
    front = exact_front(space, tables)
    worth_of, worth = _Worth(space, tables, measured, front), 1.0
    known: dict[Drop, float] = {}  # what was found once is a good guess of what is found now
    while part.size > size:
        after = {drop: _after(space, part, drop) for drop in _possible(space, part)}
        after = {drop: smaller for drop, smaller in after.items() if smaller.size < part.size}
        if not after:
            break
        gain = {drop: math.log(part.size / smaller.size) for drop, smaller in after.items()}
        used = np.concatenate([front.genomes, measured.genomes])
        if unused := [drop for drop in after if not _is_used(space, used, drop)]:
            best = max(unused, key=lambda drop: gain[drop])
            left, front = worth_of(after[best], front)
        else:
            best, left, front = _cheapest(worth_of, after, gain, known, worth)
        part, worth = replace(after[best], drops=(*part.drops, (best, worth - left))), left
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
    worth_of: _Worth, after: Mapping[Drop, Part], gain: Mapping[Drop, float], known: dict[Drop, float], worth: float
) -> tuple[Drop, float, Front]:
    """Return the drop that costs least for a factor of size, and the worth and the front after it.

    Those that were cheapest before are looked at first; when the cheapest so far is cheaper than all others were the last
    time, the others are not looked at again: what is lost by an option grows as others go.
    """
    best: tuple[Drop, float, Front] | None = None
    for drop in sorted(after, key=lambda each: known.get(each, -1.0)):
        if best and known.get(drop, -1.0) >= known[best[0]]:
            break
        left, front = worth_of(after[drop])
        known[drop] = (worth - left) / gain[drop]
        if best is None or known[drop] < known[best[0]]:
            best = drop, left, front
    assert best is not None
    return best


def _possible(space: SearchSpace, part: Part) -> Iterator[Drop]:
    """Yield the drops that a part of a space allows: one option of a choice, or a tie within a stage."""
    leaders = [choice for choice in space.choices if choice.name in part.kept and choice.name not in part.ties]
    for choice in leaders:
        if len(part.kept[choice.name]) > 1:
            yield from (Drop(choice.name, option) for option in part.kept[choice.name])
    seen: dict[tuple[str, str], Choice] = {}
    parents = {condition.choice for condition in space.conditions.values()}
    for choice in (choice for choice in leaders if choice.name not in parents):
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


def _is_used(space: SearchSpace, genomes: Genomes, drop: Drop) -> bool:
    """Return True if one of some networks would be lost by a drop."""
    matters, gene, options = space.mask(genomes), space.gene[drop.choice], space.choices[space.gene[drop.choice]].options
    if drop.option is None:
        leader = space.gene[drop.leader]
        return bool(((genomes[:, gene] != genomes[:, leader]) & matters[:, gene] & matters[:, leader]).any())
    return bool(((genomes[:, gene] == options.index(drop.option)) & matters[:, gene]).any())
