"""Relaxation: the best network under a budget by gradients, each gene a distribution over its options.

The expectation of a sum of small tables over independent genes, and its gradient, are exact; nothing is sampled. The
constraint holds in expectation, which no network has to keep: the network that the distributions name is repaired.

Source: RC-DARTS, Jin et al. 2019, arXiv:1912.12314 (a constraint on the expected cost); HardCoRe-NAS, Nayman et al. 2021,
arXiv:2102.11646 (Frank-Wolfe, which keeps it in every step). Differs: both expectations come from tables.
"""

import numpy as np
from numpy.typing import NDArray

from search_spaces.costs import FactorTable
from search_spaces.space.space import Genomes, SearchSpace

Floats = NDArray[np.float64]

STEPS = 40
BISECTIONS = 15


def relaxed_best(space: SearchSpace, objective: FactorTable, cost: FactorTable, budget: float) -> Genomes | None:
    """Return a network of small objective that costs at most `budget`, shape `(n_genes,)`; None if none was found.

    Args:
        space: The space.
        objective: Sum of small tables, minimised.
        cost: Sum of small tables.
        budget: Greatest cost.
    """
    shares = [np.full(n, 1 / n) for n in space.cardinalities]
    for step in range(STEPS):
        toward = _vertex(objective.gradient(shares), cost.gradient(shares), cost.expected(shares), shares, budget)
        rate = 2 / (step + 2)
        shares = [share + rate * (end - share) for share, end in zip(shares, toward, strict=True)]
    genome = np.array([share.argmax() for share in shares], np.int16)
    return repaired(space, space.canonicalize(genome[None])[0], objective, cost, budget)


def _vertex(slopes: list[Floats], prices: list[Floats], now: float, shares: list[Floats], budget: float) -> list[Floats]:
    """Return the corner, or the point between two, that is best by the slopes and keeps the budget by the prices."""

    def corner(multiplier: float) -> tuple[list[Floats], float]:
        picks = [int((s + multiplier * p).argmin()) for s, p in zip(slopes, prices, strict=True)]
        ends = [np.eye(len(share))[pick] for share, pick in zip(shares, picks, strict=True)]
        moved = sum(float(p @ (end - share)) for p, end, share in zip(prices, ends, shares, strict=True))
        return ends, now + moved

    free, spent = corner(0.0)
    if spent <= budget:
        return free
    low, high = 0.0, 1.0
    while corner(high)[1] > budget and high < 1e12:
        high *= 10
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if corner(middle)[1] > budget else (low, middle)
    (dear, above), (kept, below) = corner(low), corner(high)
    share = float(np.clip((budget - below) / (above - below), 0, 1)) if above > below else 0.0
    return [share * a + (1 - share) * b for a, b in zip(dear, kept, strict=True)]


def repaired(
    space: SearchSpace, genome: Genomes, objective: FactorTable, cost: FactorTable, budget: float
) -> Genomes | None:
    """Return the network after single changes: what harms least for the cost it saves, then what is better for free.

    Args:
        space: The space.
        genome: Where to begin, shape `(n_genes,)`.
        objective: Minimised.
        cost: At most the budget in the end.
        budget: Greatest cost.
    """
    for _ in range(4 * len(space.choices)):
        near = _one_change(space, genome)
        here = objective(genome[None])[0], cost(genome[None])[0]
        worse, saved = objective(near) - here[0], here[1] - cost(near)
        if here[1] > budget:
            if not (saved > 0).any():
                return None
            rank = np.where(saved > 0, worse / np.minimum(np.maximum(saved, 1e-12), here[1] - budget), np.inf)
            genome = near[int(rank.argmin())]
            continue
        better = np.where(here[1] - saved <= budget, worse, np.inf)
        if not len(near) or better.min() >= -1e-12:
            return genome
        genome = near[int(better.argmin())]
    return genome if cost(genome[None])[0] <= budget else None


def _one_change(space: SearchSpace, genome: Genomes) -> Genomes:
    """Return all networks that differ in one choice, canonical."""
    rows = np.repeat(genome[None], int(space.cardinalities.sum()), axis=0)
    start = 0
    for gene, n in enumerate(space.cardinalities):
        rows[start : start + n, gene] = np.arange(n)
        start += int(n)
    near = space.canonicalize(rows)
    others: Genomes = near[(near != genome).any(axis=1)]
    return others
