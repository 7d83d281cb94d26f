"""Measurements: one table of what was measured of subnets. Every Pareto front of measured networks is made here."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas.objectives.columns import Column, minimized
from nas.search.pareto import non_dominated, tied
from search_spaces.space.baselines import baselines
from search_spaces.space.space import Genomes, SearchSpace
from search_spaces.space.subnet import Subnet

Floats = NDArray[np.float64]


class Measurements:
    """Values of subnets by column, each in its own unit; NaN where a value was not measured.

    Args:
        space: The space.
        genomes: Canonical and distinct, shape `(n, n_genes)`.
        values: By column, each `(n,)`.
        orders: By column, what fronts rank subnets by instead of its values, `(n,)`; see `nas.search.order`.
    """

    def __init__(
        self,
        space: SearchSpace,
        genomes: Genomes,
        values: Mapping[Column, Floats],
        orders: Mapping[Column, Floats] | None = None,
    ) -> None:
        self.space = space
        self.genomes = genomes
        self.values = {column: np.asarray(array, dtype=np.float64) for column, array in values.items()}
        self.orders = dict(orders or {})

    def __len__(self) -> int:
        return len(self.genomes)

    def __getitem__(self, column: Column) -> Floats:
        return self.values[column]

    def __contains__(self, column: Column) -> bool:
        return column in self.values

    @cached_property
    def subnets(self) -> list[Subnet]:
        """The subnets, in order."""
        return self.space.subnets(self.genomes)

    def take(self, rows: NDArray[np.intp]) -> "Measurements":
        """Return some rows, in the order given."""
        values, orders = ({column: array[rows] for column, array in arrays.items()} for arrays in (self.values, self.orders))
        return Measurements(self.space, self.genomes[rows], values, orders)

    def including(self, values: Mapping[Column, Floats]) -> "Measurements":
        """Return the same subnets with further columns behind."""
        return Measurements(self.space, self.genomes, {**self.values, **values}, self.orders)

    def satisfying(self, upper: Mapping[Column, float], lower: Mapping[Column, float]) -> NDArray[np.bool_]:
        """Return which subnets satisfy upper and lower bounds, shape `(n,)`."""
        mask = np.ones(len(self), dtype=bool)
        for column, bound in upper.items():
            mask &= self[column] <= bound
        for column, bound in lower.items():
            mask &= self[column] >= bound
        return mask

    def minimized(self, objectives: Sequence[Column]) -> Floats:
        """Return values of columns as a search minimises them, shape `(n, m)`."""
        return np.column_stack([minimized(column, self[column]) for column in objectives])

    def ranked(self, objectives: Sequence[Column]) -> Floats:
        """Return what fronts rank subnets by, shape `(n, m)`: minimised values, or what stands for them."""
        return np.column_stack([self.orders.get(column, minimized(column, self[column])) for column in objectives])

    def front(
        self,
        objectives: Sequence[Column],
        *,
        among: NDArray[np.bool_] | None = None,
        tolerance: Mapping[Column, float] | None = None,
    ) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Return the Pareto front: the subnets that no other one dominates by these columns, as `ranked` has them.

        The order is total and knows no ties: a subnet on the front is marked as tied if another one would dominate it, were
        values smaller by how far they may be off; it stays on the front.

        Args:
            objectives: Columns that are minimised, or maximised where their metric is.
            among: The subnets that may stand on the front, shape `(n,)`; None: all.
            tolerance: How far values of a column may be off; latencies may be off by their spread.

        Returns:
            Rows of the front, sorted by the objectives, then by id; and which of them are tied. Both of shape `(k,)`.
        """
        usable = np.arange(len(self)) if among is None else np.flatnonzero(among)
        values = self.minimized(objectives)[usable]
        best = np.flatnonzero(non_dominated(self.ranked(objectives)[usable]))
        ids = [self.subnets[row].id for row in usable[best]]
        best = best[np.lexsort((ids, *values[best].T[::-1]))]
        margins = np.column_stack([self._margin(column, tolerance or {})[usable] for column in objectives])
        return usable[best], tied(values[best], values, margins).astype(bool)

    def _margin(self, column: Column, tolerance: Mapping[Column, float]) -> Floats:
        """Return how far the values of a column may be off, shape `(n,)`."""
        if column.spread in self:
            return np.abs(self[column] * self[column.spread])
        return np.full(len(self), tolerance.get(column, 0.0))

    def baselines(self) -> dict[str, int]:
        """Return the rows of the space's baselines that were measured, by name."""
        rows = {genome.tobytes(): i for i, genome in enumerate(self.genomes)}
        found = {name: rows.get(genome.tobytes()) for name, genome in baselines(self.space).items()}
        return {name: row for name, row in found.items() if row is not None}

    def values_frame(self) -> pd.DataFrame:
        """Return the values by the names of their columns."""
        whole = {c for c, array in self.values.items() if c.quantity.is_whole and np.array_equal(array, np.rint(array))}
        return pd.DataFrame({c.name: array.astype(int) if c in whole else array for c, array in self.values.items()})

    def choices_frame(self) -> pd.DataFrame:
        """Return the options by choice, None where a choice is inactive."""
        options = [subnet.options for subnet in self.subnets]
        names = [choice.name for choice in self.space.named_choices]
        return pd.DataFrame({name: pd.Series([row.get(name) for row in options], dtype=object) for name in names})

    def frame(self) -> pd.DataFrame:
        """Return a row for each subnet: id, values, options."""
        ids = pd.DataFrame({"id": [subnet.id for subnet in self.subnets]}, dtype=object)
        return pd.concat([ids, self.values_frame(), self.choices_frame()], axis=1)

    def baselines_frame(self) -> pd.DataFrame:
        """Return the measured baselines as a table, named in a first column `baseline`."""
        rows = self.baselines()
        frame = self.take(np.array(list(rows.values()), dtype=np.intp)).frame()
        frame.insert(0, "baseline", list(rows))
        return frame
