"""search: measure a few networks, let a strategy say which ones next, and again; end with a front that is measured whole."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas.objectives.columns import Column, minimized
from nas.objectives.objective import Objective
from nas.search.measurements import Measurements
from nas.search.order import Order
from nas.search.state import Measure, MeasurementStore, SearchState
from nas.search.strategies import Strategy, build_strategy
from predictors import Signal
from search_spaces.errors import InvalidInputError, MeasurementError
from search_spaces.space.space import Genomes, SearchSpace
from search_spaces.space.subnet import Subnet

Floats = NDArray[np.float64]

N_ROUNDS = 24  # of proposing and measuring, after the start, unless a batch is given or the space is small
PATIENCE = 30  # networks measured without a gain above the noise, after which a search ends


@dataclass(frozen=True, eq=False)
class SearchResult:
    """Result of a search.

    Attributes:
        measurements: Every network that was measured, in the order of measurement, with all objectives.
        front: The Pareto front: options by choice (None where inactive), then the objectives, sorted by them; where noise
            was given, column `tied` says that another measured network would dominate this one if expensive objectives moved
            by it.
        predictors: Name of the predictor that was used last, by expensive objective; empty for strategies without.
        stopped_early: True if the search ended because it gained no more than the noise.
        failed: Ids of networks whose measurement gave no finite numbers.
        objectives: The columns that were searched by.
        front_rows: Which measured networks are on the front, in its order, shape `(k,)`.
    """

    measurements: Measurements
    front: pd.DataFrame
    predictors: Mapping[str, str]
    stopped_early: bool
    failed: tuple[str, ...] = ()
    objectives: tuple[Column, ...] = ()
    front_rows: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))

    @property
    def subnets(self) -> list[Subnet]:
        """The networks of the front, in its order."""
        return self.measurements.take(self.front_rows).subnets

    @property
    def genomes(self) -> Genomes:
        """The measured networks, shape `(n, n_genes)`."""
        return self.measurements.genomes

    @cached_property
    def archive(self) -> pd.DataFrame:
        """A row for each measured network: options by choice, then the objectives."""
        return _table(self.measurements)


def search(
    space: SearchSpace,
    measure: Measure,
    *,
    objectives: Sequence[str] | None = None,
    cheap: Mapping[str, Objective] | None = None,
    constraints: Mapping[str, Objective] | None = None,
    n_measurements: int,
    orders: Mapping[str, Order] | None = None,
    signals: Mapping[str, Sequence[Signal]] | None = None,
    limits: Mapping[str, tuple[float, float]] | None = None,
    strategy: str | Strategy = "predictor",
    options: Mapping[str, Any] | None = None,
    batch: int | None = None,
    noise: Mapping[str, float] | None = None,
    workers: int = 1,
    rng: np.random.Generator,
    archive: MeasurementStore | None = None,
    first: Genomes | None = None,
    progress: Callable[[int, int, str], None] = lambda done, total, note: None,
) -> SearchResult:
    """Find the front with few expensive measurements.

    Every network of the result has been measured. A search that was stopped goes on when it is started again with the
    same arguments and archive: what the archive holds is not measured again.

    Args:
        space: The space.
        measure: Genomes `(n, n_genes)` to expensive objectives by name, each `(n,)`. It is asked for one network at a time;
            NaN says that its measurement failed: the search goes on without it, until most fail.
        objectives: Names of those that are objectives; None: all. They are minimised, but for those whose metric
            (`nas.tasks.METRICS`) is maximised.
        cheap: Objectives that are exact and free, such as those of a table.
        constraints: By name: genomes to values that must be 0 or less, see `upper_bound`; cheap.
        n_measurements: Distinct networks to measure, at least 4; fewer if the space is smaller.
        orders: By expensive objective, what it is searched by instead of its own values, see `nas.search.order`; the front
            is that of this order.
        signals: By expensive objective, what says something of it and costs less; only predictors see it.
        limits: By expensive value, in its own unit, the least and the greatest of networks that are of interest; the search
            looks for these, and only they stand on the front.
        strategy: Name of a registered strategy, or one that was made.
        options: Of a strategy that is named, by name, as `{"predictors": "ridge"}`.
        batch: Networks to measure before the strategy is asked again; None: one in a small space, otherwise a share of
            what is left after the start.
        noise: By expensive objective: a difference that means nothing. The search ends early when 30 networks in a row
            gained no more, and networks of the front that differ by no more are marked as tied. None: no early end.
        workers: Networks to measure at once, by the joblib backend in force; `measure` must then be picklable.
        rng: Source of everything random.
        archive: Where measurements are kept; None keeps them in memory.
        first: Networks that are measured before the strategy is asked, shape `(n, n_genes)`; None: it chooses all.
        progress: Called with measurements done, in all, and a text: the best of the first objective.

    Raises:
        InvalidInputError: If `n_measurements` is below 4, `batch` or `workers` below 1, strategy or predictor is unknown, an
            objective is measured and cheap at once, `measure` gives something else than it must, or nothing satisfies the
            constraints.
        MeasurementError: If `measure` raises, or most measurements fail.
    """
    if n_measurements < 4:
        raise InvalidInputError(f"n_measurements must be 4 or more, got {n_measurements}")
    for name, value in (("batch", batch), ("workers", workers)):
        if value is not None and value < 1:
            raise InvalidInputError(f"{name} must be 1 or more, got {value}")
    if options and not isinstance(strategy, str):
        raise InvalidInputError("options are of a strategy that is named; one that was made has its own")
    chooser = build_strategy(strategy, options) if isinstance(strategy, str) else strategy
    state = SearchState(
        space,
        measure,
        cheap or {},
        constraints or {},
        archive,
        n_measurements,
        workers,
        progress,
        objectives,
        orders,
        signals,
        limits,
    )
    state.measure(first if first is not None and len(first) else chooser.propose(state, batch or workers, rng))
    if not len(state):
        failed = ", ".join(subnet.id for subnet in space.subnets(state.failed))
        raise MeasurementError(f"the first measurements all failed, of the networks {failed}: they gave no finite numbers")
    if batch is None:
        small = state.everything is not None
        batch = max(workers, 1 if small else -(-state.left // N_ROUNDS))
    idle = 0
    while state.left > 0 and (noise is None or idle < PATIENCE):
        before = state.usable_values()
        chosen = chooser.propose(state, min(batch, state.left), rng)
        if not len(chosen):
            break
        state.measure(chosen)
        has_gained = not state.kept().any() or gained(before, state.usable_values(), state.margins(noise or {}))
        idle = 0 if has_gained else idle + len(chosen)
    report = getattr(chooser, "report", dict)
    return _result(state, report(), noise, stopped_early=idle >= PATIENCE and noise is not None)


def gained(before: Floats, after: Floats, margins: Floats) -> bool:
    """Return whether a row of `after` lies in front of all rows of `before` by more than the margins; shapes `(n, m)`."""
    worse = after + margins
    beaten = np.any(np.all(before[None] <= worse[:, None], axis=2), axis=1)
    return not bool(np.all(beaten))


def _result(
    state: SearchState, predictors: Mapping[str, str], noise: Mapping[str, float] | None, *, stopped_early: bool
) -> SearchResult:
    objectives = [Column.from_name(name) for name in [*state.expensive, *state.cheap]]
    values = {Column.from_name(name): array for name, array in state.recorded.items()}
    for name, function in state.cheap.items():
        values[Column.from_name(name)] = minimized(Column.from_name(name), function(state.genomes))
    orders = {Column.from_name(name): state.expensive[name] for name in state.orders if name in state.expensive}
    measured = Measurements(state.space, state.genomes, values, orders)
    tolerance = {Column.from_name(name): margin for name, margin in (noise or {}).items()}
    rows, is_tied = measured.front(objectives, among=state.kept(), tolerance=tolerance)
    front = _table(measured.take(rows))
    if noise is not None:
        front["tied"] = is_tied
    failed = tuple(subnet.id for subnet in state.space.subnets(state.failed))
    return SearchResult(measured, front, predictors, stopped_early, failed, tuple(objectives), rows)


def _table(measured: Measurements) -> pd.DataFrame:
    return pd.concat([measured.choices_frame(), measured.values_frame()], axis=1)
