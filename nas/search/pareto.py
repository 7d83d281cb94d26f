"""Dominance, fronts and hypervolume; everything is minimised."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pymoo.indicators.hv import HV
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from search_spaces.space.space import Genomes

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Front:
    """Networks that none of the others beats.

    Attributes:
        names: Objectives in the order of the columns.
        genomes: Shape `(n, n_genes)`, distinct, in ascending order of the first objective.
        values: Shape `(n, m)`.
    """

    names: tuple[str, ...]
    genomes: Genomes
    values: Floats

    @classmethod
    def from_points(cls, names: Sequence[str], genomes: Genomes, values: Floats) -> "Front":
        """Keep the non-dominated of any networks; of equal genomes one, of equal values all."""
        _, first = np.unique(genomes, axis=0, return_index=True)
        genomes, values = genomes[np.sort(first)], values[np.sort(first)]
        kept = np.flatnonzero(non_dominated(values))
        order = kept[np.lexsort(values[kept].T[::-1])]
        return cls(tuple(names), genomes[order], values[order])

    def __len__(self) -> int:
        return len(self.genomes)


def non_dominated(values: Floats) -> NDArray[np.bool_]:
    """Return which rows no other row dominates: none is as small everywhere and smaller somewhere.

    Args:
        values: Shape `(n, m)`; infinities are allowed, NaN is not. Rows that are equal do not dominate each other.

    Raises:
        ValueError: If a value is NaN.
    """
    if np.isnan(values).any():
        raise ValueError("objectives must not be NaN")
    mask = np.zeros(len(values), dtype=bool)
    if len(values):
        # Ranks instead of values: dominance is the same, and moocore 0.3.2, under pymoo, crashes on infinities.
        ranks = np.column_stack([np.unique(column, return_inverse=True)[1] for column in values.T])
        mask[NonDominatedSorting().do(ranks, only_non_dominated_front=True)] = True
    return mask


def layers(values: Floats, n_layers: int) -> NDArray[np.bool_]:
    """Return which rows are non-dominated after the rows of fewer than `n_layers` fronts were taken away."""
    mask = np.zeros(len(values), dtype=bool)
    for _ in range(n_layers):
        rest = np.flatnonzero(~mask)
        mask[rest[non_dominated(values[rest])]] = True
    return mask


def tied(front: Floats, everything: Floats, margins: Floats) -> NDArray[np.bool_]:
    """Return which rows of a front another network would beat if its values were smaller by their margins.

    Args:
        front: Shape `(k, m)`.
        everything: All measured networks, those of the front among them, shape `(n, m)`.
        margins: How far values may be off, 0 where they are exact; shape `(m,)` or `(n, m)`.
    """
    no_worse = np.all((everything - margins)[None] <= front[:, None], axis=2)
    better = np.any(everything[None] < front[:, None], axis=2)  # as measured: otherwise every network would tie with itself
    return np.array([bool(row.any()) for row in no_worse & better])


def knee(front: Floats) -> int:
    """Return the row of a front that lies farthest below the plane through its best rows of each objective.

    Args:
        front: Non-dominated, shape `(n, m)`.

    Source:
        Das 1999 (Structural Optimization 18:107), with objectives scaled to 0..1; where the best rows are fewer than the
        objectives or lie in one line, the plane is that of equal sums.
    """
    width = np.ptp(front, axis=0)
    scaled = (front - front.min(axis=0)) / np.where(width > 0, width, 1.0)
    corners = scaled[scaled.argmin(axis=0)]
    normal = np.ones(front.shape[1])
    if np.linalg.matrix_rank(corners) == front.shape[1]:
        solved = np.linalg.solve(corners, normal)
        normal = solved if (solved > 0).all() else normal
    return int((scaled @ normal).argmin())


def hypervolume(values: Floats, reference: Floats) -> float:
    """Return the volume that rows of shape `(n, m)` dominate below a reference point of shape `(m,)`."""
    inside = values[(values < reference).all(axis=1)]
    return float(HV(ref_point=reference)(inside)) if len(inside) else 0.0


def columns(objectives: Mapping[str, Floats]) -> Floats:
    """Return objectives of shape `(n,)` as columns of shape `(n, m)`, in their order."""
    return np.column_stack([np.asarray(values, dtype=np.float64) for values in objectives.values()])
