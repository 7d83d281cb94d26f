"""The measured front of a run: networks near the front are timed, those on it tested, and only measured values decide."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas.objectives.columns import Column
from nas.search.measurements import Measurements
from nas.search.pareto import layers
from search_spaces.errors import InvalidInputError
from search_spaces.space.space import Genomes

N_LAYERS = 2  # fronts by predicted latency whose networks are timed: a near miss may prove better than it was predicted


def measure_front(
    known: Measurements,
    objectives: Sequence[Column],
    upper: Mapping[Column, float],
    lower: Mapping[Column, float],
    *,
    tolerance: Mapping[Column, float],
    measure_latency: Callable[[Genomes], Mapping[Column, NDArray[np.float64]]],
    measure_test: Callable[[Genomes], Mapping[Column, NDArray[np.float64]]],
) -> tuple[Measurements, pd.DataFrame, pd.DataFrame]:
    """Time the networks near the front, and make the front of their measured values.

    Args:
        known: The networks that were measured on the validation split, with their exact costs and predicted latencies.
        objectives: Measured columns.
        upper: Upper bounds by measured column.
        lower: Lower bounds by measured column.
        tolerance: See `Measurements.front`.
        measure_latency: From genomes `(n, g)` to columns of shape `(n,)`.
        measure_test: The same, of the test split.

    Returns:
        All timed networks; the front and the baselines as tables.

    Raises:
        InvalidInputError: If no measured network satisfies the constraints.
    """
    feasible = known.satisfying(_predicted(known, upper), _predicted(known, lower))
    near = np.flatnonzero(feasible)
    values = known.ranked(list(_predicted(known, dict.fromkeys(objectives, 0.0))))[near]
    timed = np.unique([*near[layers(values, N_LAYERS)], *known.baselines().values()]).astype(np.intp)
    found = known.take(timed)
    found = found.including(measure_latency(found.genomes))

    kept = feasible[timed] & found.satisfying(upper, lower)
    if not kept.any():
        names = {**{f"max {c.name}": x for c, x in upper.items()}, **{f"min {c.name}": x for c, x in lower.items()}}
        raise InvalidInputError(f"no measured network satisfies the constraints {names}; relax one or measure more networks")
    rows, is_tied = found.front(objectives, among=kept, tolerance=tolerance)
    tested = np.unique([*rows, *found.baselines().values()])
    for column, values in measure_test(found.genomes[tested]).items():
        everywhere = np.full(len(found), np.nan)
        everywhere[tested] = values
        found = found.including({column: everywhere})
    return found, found.take(rows).frame().assign(tied=is_tied), found.baselines_frame()


def _predicted(known: Measurements, by_column: Mapping[Column, float]) -> dict[Column, float]:
    """Return the same with predicted columns instead of those that are predicted."""
    return {(c.predicted if c.predicted in known else c): value for c, value in by_column.items()}
