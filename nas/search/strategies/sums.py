"""Sums of what single groups lose, corrected by what was measured: the exact fronts of these and of what is cheap."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.search.exact import exact_front
from nas.search.state import SearchState
from nas.search.strategies.exact import additive
from nas.search.strategies.strategy import random_networks, seeds
from search_spaces.costs import FactorTable
from search_spaces.space.space import Genomes

Correction = Callable[[FactorTable, Genomes, NDArray[np.float64]], FactorTable]


@dataclass
class SumsStrategy:
    """What a table predicts of the measured objective steers.

    Attributes:
        table: Predicts it.
        corrected: From a table, networks and what was measured of them to a better table.
    """

    table: FactorTable
    corrected: Correction = lambda table, genomes, measured: table

    def propose(self, state: SearchState, n: int, rng: np.random.Generator) -> Genomes:
        """See `Strategy`: the uniform networks first, then members of the exact fronts, evenly along them.

        Raises:
            InvalidInputError: If a cheap objective is no sum of tables, or a constraint is no upper limit on one.
        """
        tables = additive(state.cheap, state.constraints)
        if not len(state):
            return np.concatenate([seeds(state), self._members(state, self.table, tables, n)])[: max(n, len(seeds(state)))]
        (measured,) = state.expensive.values()
        found = self._members(state, self.corrected(self.table, state.genomes, measured), tables, n)
        return found if len(found) else random_networks(state, n, rng)

    @staticmethod
    def _members(state: SearchState, table: FactorTable, tables: dict[str, FactorTable], n: int) -> Genomes:
        """Return networks of the fronts that were not measured, in turn one of each front, where the gaps are widest."""
        chosen: list[Genomes] = []
        for name, cheap in tables.items():
            members = state.open(exact_front(state.space, {"predicted": table, name: cheap}).genomes)
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
