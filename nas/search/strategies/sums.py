"""Sums of what single groups lose, corrected by what was measured: the best of these for what is cheap."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.search.evolution.evolve import Bound
from nas.search.exact import exact_front
from nas.search.milp import best_within
from nas.search.state import SearchState
from nas.search.strategies.exact import additive
from nas.search.strategies.strategy import random_networks, seeds
from search_spaces.costs import FactorTable
from search_spaces.space.space import Genomes

Correction = Callable[[FactorTable, Genomes, NDArray[np.float64]], FactorTable]
Solver = Callable[[SearchState, FactorTable, FactorTable], Genomes]
"""From a search and two tables, the loss and a cheap one, to networks that are best in both."""

N_BUDGETS = 16  # and twice as many as were measured, up to
MAX_BUDGETS = 128


def exact_members(state: SearchState, loss: FactorTable, cheap: FactorTable) -> Genomes:
    """Return the whole exact front; limits are not looked at."""
    return exact_front(state.space, {"loss": loss, "cheap": cheap}).genomes


def programmed_members(state: SearchState, loss: FactorTable, cheap: FactorTable) -> Genomes:
    """Return the networks of least loss within the limits for each of some budgets, by integer programming.

    Where limits are tight the exact front of two sums may hold few networks that keep them; these all do. None if nothing
    keeps the limits.
    """
    limits = {
        name: (bound.function, bound.bound)
        for name, bound in state.constraints.items()
        if isinstance(bound, Bound) and isinstance(bound.function, FactorTable)  # as `additive` has checked
    }
    ends = [best_within(state.space, table, limits) for table in (cheap, loss)]
    kept = [genome for genome in ends if genome is not None]
    if kept:
        least, greatest = (float(cheap(genome[None])[0]) for genome in (kept[0], kept[-1]))
        n = min(N_BUDGETS + 2 * len(state), MAX_BUDGETS)
        budgets = np.linspace(least, greatest, n) * (1 + 1e-9)  # its own value is within a budget
        found = [best_within(state.space, loss, {**limits, "budget": (cheap, budget)}) for budget in budgets]
        kept += [genome for genome in found if genome is not None]
    return np.unique(np.array(kept, np.int16).reshape(-1, len(state.space.choices)), axis=0)


@dataclass
class SumsStrategy:
    """What a table predicts of the measured objective steers.

    Attributes:
        table: Predicts it.
        corrected: From a table, networks and what was measured of them to a better table.
        solve: Finds what is best in it and each cheap objective.
    """

    table: FactorTable
    corrected: Correction = lambda table, genomes, measured: table
    solve: Solver = exact_members

    def propose(self, state: SearchState, n: int, rng: np.random.Generator) -> Genomes:
        """See `Strategy`: the uniform networks first, then the best of each cheap objective, evenly along them.

        Raises:
            InvalidInputError: If a cheap objective is no sum of tables, or a constraint is no upper limit on one.
        """
        tables = additive(state.cheap, state.constraints)
        if not len(state):
            return np.concatenate([seeds(state), self._members(state, self.table, tables, n)])[: max(n, len(seeds(state)))]
        (measured,) = state.expensive.values()
        found = self._members(state, self.corrected(self.table, state.genomes, measured), tables, n)
        return found if len(found) else random_networks(state, n, rng)

    def _members(self, state: SearchState, table: FactorTable, tables: dict[str, FactorTable], n: int) -> Genomes:
        """Return the best networks that were not measured, in turn one of each objective, where the gaps are widest."""
        chosen: list[Genomes] = []
        for cheap in tables.values():
            members = state.open(self.solve(state, table, cheap))
            if len(members):
                points, known = (np.column_stack([table(rows), cheap(rows)]) for rows in (members, state.genomes))
                chosen.append(members[spread(points, known, n)])
        turns = [rows[i] for i in range(max(map(len, chosen), default=0)) for rows in chosen if i < len(rows)]
        return state.open(np.array(turns, np.int16).reshape(-1, len(state.space.choices)))[:n]


def spread(points: NDArray[np.float64], known: NDArray[np.float64], n: int) -> NDArray[np.intp]:
    """Return up to n points, each the farthest from all before it and from known ones, in logarithms.

    Args:
        points: Shape `(k, m)`, not negative.
        known: Shape `(j, m)`.
        n: Points that are wanted.
    """
    both = np.concatenate([points, known])
    floor = np.maximum(both.max(axis=0) * 1e-4, 1e-12)  # below that, differences mean nothing
    scaled = np.log(np.maximum(both, floor))
    scaled /= np.maximum(np.ptp(scaled, axis=0), 1e-12)
    mine, theirs = scaled[: len(points)], scaled[len(points) :]
    nearest = np.full(len(mine), np.inf)
    for other in theirs:
        nearest = np.minimum(nearest, np.abs(mine - other).sum(axis=1))
    order = []
    for _ in range(min(n, len(mine))):
        order.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, np.abs(mine - mine[order[-1]]).sum(axis=1))
        nearest[order[-1]] = -1
    return np.array(order, np.intp)
