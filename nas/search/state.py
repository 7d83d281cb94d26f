"""SearchState: everything that a search has measured so far, and what it can tell of networks without measuring them."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from functools import cached_property
from typing import Protocol

import joblib
import numpy as np
from numpy.typing import NDArray

from nas.objectives.columns import Column, minimized, minimized_objective
from nas.objectives.objective import Objective
from nas.search.order import ByLoss, Order
from nas.search.pareto import columns, non_dominated
from nas.tasks.metric import metric_of
from predictors import Signal
from search_spaces.errors import HwnasError, InvalidInputError, MeasurementError
from search_spaces.space.space import Genomes, SearchSpace

Floats = NDArray[np.float64]
Measure = Callable[[Genomes], Mapping[str, Floats]]
"""Genomes `(n, n_genes)` to values by name, each `(n,)`; a value that is not finite says that the measurement failed."""
ENUMERABLE = 20_000  # spaces up to this many combinations are looked at whole
FAILURES = 10  # so many failed measurements end a search if they are at least half of all


class MeasurementStore(Protocol):
    """Store of measured networks beyond the search, see `nas.archive.Archive`."""

    def lookup(self, genomes: Genomes) -> list[dict[str, float] | None]:
        """Return what is known of each genome."""

    def add(self, genomes: Genomes, values: Mapping[str, Floats]) -> None:
        """Keep what was measured."""


class SearchState:
    """Everything that a search has measured, in the order in which it was asked for.

    Args:
        space: The space.
        measure: The expensive truth.
        cheap: Exact objectives by name, in their own units.
        constraints: By name: genomes to values that must be 0 or less.
        store: Where measurements are kept; None: here only.
        budget: Networks that may be measured.
        workers: Networks to measure at once, by joblib's backend in force.
        progress: Called with measurements done, in all, and the best value of the first objective as a text.
        objectives: Those of the measured values that are objectives; None: all of them.
        orders: By objective, what it is searched by instead of its own values, see `nas.search.order`.
        signals: By objective, what predictors may see of networks besides.
        limits: By measured value, in its own unit: the least and the greatest that networks of interest have.

    Attributes:
        genomes: Shape `(n, n_genes)`.
        expensive: Measured objectives by name as they are minimised, or what they are searched by; each `(n,)`.
        cheap: Exact objectives by name as they are minimised.
        recorded: Everything that was measured by name, in its own unit, each `(n,)`.
        failed: Networks whose measurement failed, shape `(k, n_genes)`; they are spent, and not asked for again.
        workers: Networks that are measured at once.
    """

    def __init__(
        self,
        space: SearchSpace,
        measure: Measure,
        cheap: Mapping[str, Objective],
        constraints: Mapping[str, Objective],
        store: MeasurementStore | None,
        budget: int,
        workers: int,
        progress: Callable[[int, int, str], None],
        objectives: Sequence[str] | None = None,
        orders: Mapping[str, Order] | None = None,
        signals: Mapping[str, Sequence[Signal]] | None = None,
        limits: Mapping[str, tuple[float, float]] | None = None,
    ) -> None:
        self.space = space
        self.cheap = {name: minimized_objective(name, function) for name, function in cheap.items()}
        self.constraints = constraints
        self.budget = min(budget, space.size)
        self.genomes = np.empty((0, len(space.choices)), np.int16)
        self.failed = self.genomes
        self._names: set[str] = set()
        self.expensive: dict[str, Floats] = {}
        self.recorded: dict[str, Floats] = {}
        self.signals = signals or {}
        self._limits = limits or {}
        self._objectives = objectives
        self.orders = orders or {}
        self._measure = measure
        self._store = store
        self.workers = workers
        self._progress = progress

    def __len__(self) -> int:
        return len(self.genomes)

    @property
    def expensive_names(self) -> tuple[str, ...]:
        """Names of the measured objectives; before anything is measured, those that are known."""
        return tuple(self.expensive or self._objectives or self.signals)

    @property
    def left(self) -> int:
        """Networks that may still be measured."""
        return self.budget - len(self.genomes) - len(self.failed)

    def measure(self, genomes: Genomes) -> None:
        """Measure genomes that were not measured yet, up to the budget; each is kept as soon as it is done.

        Raises:
            InvalidInputError: If `measure` gives something else than it must.
            MeasurementError: If it raises, or most measurements fail; what was measured is kept.
        """
        due = self.unmeasured(genomes)[: self.left]
        found: list[dict[str, float] | None] = self._store.lookup(due) if self._store else [None] * len(due)
        missing = [i for i, values in enumerate(found) if values is None]
        done = self.budget - self.left + len(due) - len(missing)
        self._progress(done, self.budget, self._best(found))
        for i, values in self._measure_each(due, missing):
            self._check(values)
            if np.isfinite(list(values.values())).all():
                if self._store:
                    self._store.add(due[i : i + 1], {name: np.array([y]) for name, y in values.items()})
                found[i] = values
            else:
                self._note_failure(due[i : i + 1], len(self) + sum(values is not None for values in found))
            done += 1
            self._progress(done, self.budget, self._best(found))
        rows = [values for values in found if values is not None]
        for values in rows:
            self._check(values)
        self.genomes = np.concatenate([self.genomes, due[[values is not None for values in found]]])
        if rows and (odd := sorted(set(self._limits) - set(rows[0]))):
            raise InvalidInputError(f"limits are of what is measured, {list(rows[0])}, got {odd}")
        for name in rows[0] if rows else ():
            new = np.array([values[name] for values in rows])
            self.recorded[name] = np.concatenate([self.recorded.get(name, np.empty(0)), new])
        if rows and (odd := sorted({*self.orders, *self.signals} - set(self._objectives or self.recorded))):
            raise InvalidInputError(f"orders and signals are of measured objectives, got {odd}")
        for name in (name for name in self._objectives or self.recorded if name in self.recorded):
            order = self.orders.get(name)
            values = minimized(Column.of_objective(name), self.recorded[name])
            self.expensive[name] = order(self.recorded) if order else values

    def _measure_each(self, due: Genomes, missing: list[int]):  # type: ignore[no-untyped-def]
        """Yield index and values of each missing genome, in the order in which they are done."""
        names = {i: self.space.subnet(due[i]).id for i in missing}  # not the space: it would go to every worker
        if self.workers == 1 or len(missing) == 1:
            yield from (_measure_one(self._measure, due[i : i + 1], i, names[i]) for i in missing)
            return
        run = joblib.Parallel(n_jobs=self.workers, return_as="generator_unordered", batch_size=1, pre_dispatch="all")
        try:
            yield from run(joblib.delayed(_measure_one)(self._measure, due[i : i + 1], i, names[i]) for i in missing)
        except BrokenProcessPool as error:
            raise MeasurementError(
                "a process that measured networks was killed; if memory ran out, use fewer workers: the same command goes on"
            ) from error

    def unmeasured(self, genomes: Genomes) -> Genomes:
        """Return distinct genomes that were not measured yet, in order; those whose measurement failed are left out too."""
        seen = {row.tobytes() for row in (*self.genomes, *self.failed)}
        new = []
        for row in self.space.canonicalize(genomes):
            if row.tobytes() not in seen:
                seen.add(row.tobytes())
                new.append(row)
        return np.array(new, np.int16).reshape(-1, self.genomes.shape[1])

    def open(self, genomes: Genomes) -> Genomes:
        """Return distinct genomes that satisfy the constraints and were not measured yet, in order."""
        left = self.unmeasured(genomes)
        return left[self.feasible(left)]

    def feasible(self, genomes: Genomes) -> NDArray[np.bool_]:
        """Return which genomes satisfy the constraints, shape `(n,)`."""
        mask = np.ones(len(genomes), dtype=bool)
        for excess in self.constraints.values():
            mask &= excess(genomes) <= 0
        return mask

    def kept(self) -> NDArray[np.bool_]:
        """Return which measured networks satisfy the constraints and lie within the limits, shape `(n,)`."""
        mask = self.feasible(self.genomes)
        for name, (least, greatest) in self._limits.items():
            mask &= (least <= self.recorded[name]) & (self.recorded[name] <= greatest)
        return mask

    def usable(self) -> NDArray[np.bool_]:
        """Return which measured networks may stand on a front: those that are kept, or else keep the constraints, or all."""
        masks = (self.kept(), self.feasible(self.genomes))
        return next((mask for mask in masks if mask.any()), np.ones(len(self), dtype=bool))

    def corner(self) -> Floats:
        """Return up to where objectives are of interest, in the order of `values`; infinite where nothing limits them.

        Of one that is searched by something else, that is what the best network beyond its limit has.
        """
        found = np.full(len(self.expensive) + len(self.cheap), np.inf)
        for j, (name, values) in enumerate(self.expensive.items()):
            found[j] = limit = self._limit(name)
            if name in self.orders:
                beyond = minimized(Column.of_objective(name), self.recorded[name]) > limit
                found[j] = values[beyond].min(initial=np.inf)
        return found

    def _limit(self, name: str) -> float:
        """Return up to where a measured value is of interest, as it is minimised."""
        ends = np.array(self._limits.get(name, (-np.inf, np.inf)))
        return float(minimized(Column.of_objective(name), ends).max())

    def reach(self, name: str) -> float:
        """Return up to where predictors learn a measured objective: as far beyond its limit as the best is within it."""
        limit = self._limit(name)
        return limit + max(limit - float(self.expensive[name].min()), 0.0) if name not in self.orders else np.inf

    def feasible_values(self) -> Floats:
        """Return all objectives of the measured networks that satisfy the constraints, of all if none does; `(k, m)`."""
        feasible = self.feasible(self.genomes)
        return self.values()[feasible] if feasible.any() else self.values()

    def usable_values(self) -> Floats:
        """Return all objectives of the measured networks that may stand on a front, shape `(k, m)`."""
        return self.values()[self.usable()]

    def best(self) -> Genomes:
        """Return the measured networks that no other usable one beats, shape `(k, n_genes)`."""
        usable: Genomes = self.genomes[self.usable()]
        return usable[non_dominated(self.usable_values())]

    @cached_property
    def everything(self) -> Genomes | None:
        """Return all genomes of a small space, canonical and distinct; None for a large one."""
        if np.prod(self.space.cardinalities.astype(float)) > ENUMERABLE:
            return None
        every = np.indices(tuple(self.space.cardinalities.tolist())).reshape(len(self.space.choices), -1).T
        return np.unique(self.space.canonicalize(every), axis=0)

    def values(self) -> Floats:
        """Return all objectives of what was measured, expensive ones first, shape `(n, m)`."""
        return columns({**self.expensive, **{name: function(self.genomes) for name, function in self.cheap.items()}})

    def margins(self, noise: Mapping[str, float]) -> Floats:
        """Return which differences of the objectives, in the order of `values`, mean nothing; shape `(m,)`.

        Args:
            noise: By name; of one that is searched by its loss that of the loss counts, by default its metric's own.
        """
        by_loss = {name: order.loss for name, order in self.orders.items() if isinstance(order, ByLoss)}
        known = {loss: metric_of(loss).noise for loss in by_loss.values()} | dict(noise)
        return np.array([known.get(by_loss.get(name, name), 0.0) for name in [*self.expensive, *self.cheap]])

    def _best(self, found: list[dict[str, float] | None]) -> str:
        """Return in words the best of the first objective so far, among what is known and what was just found."""
        new = [values for values in found if values]
        name = next(iter(self._objectives or self.recorded or (new[0] if new else ())), "")
        seen = np.array([*self.recorded.get(name, ()), *(values[name] for values in new)])
        return f"best {name} {seen[minimized(Column.of_objective(name), seen).argmin()]:.4g}" if len(seen) else ""

    def _note_failure(self, genome: Genomes, n_measured: int) -> None:
        self.failed = np.concatenate([self.failed, genome])
        if len(self.failed) >= FAILURES and len(self.failed) >= n_measured:
            raise MeasurementError(
                f"{len(self.failed)} of {len(self.failed) + n_measured} measurements failed: they gave no finite numbers, "
                f"first for network {self.space.subnet(self.failed[0]).id}; what was measured is kept"
            )

    def _check(self, values: Mapping[str, float]) -> None:
        if both := sorted(set(values) & set(self.cheap)):
            raise InvalidInputError(f"the objectives {both} are both measured and given as cheap; leave one out")
        self._names = self._names or set(values)
        if set(values) != self._names:
            raise InvalidInputError(
                f"every network must be measured alike: once {sorted(self._names)}, now {sorted(values)}"
            )
        if missing := [name for name in self._objectives or () if name not in values]:
            raise InvalidInputError(f"the objectives {missing} were not measured: there are {sorted(values)}")


def _measure_one(measure: Measure, row: Genomes, index: int, name: str) -> tuple[int, dict[str, float]]:
    """Measure one network and return its place and values; what `measure` raises becomes an error that names the network."""
    try:
        values = measure(row)
    except HwnasError:
        raise
    except Exception as error:  # whatever an evaluator raises
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise MeasurementError(f"network {name} could not be measured: {what}") from error
    if not isinstance(values, Mapping) or not values:
        raise InvalidInputError(
            f"`measure` must return values by name, each of shape (1,) for one network; got {values!r:.80}"
        )
    return index, {objective: _number(objective, value) for objective, value in values.items()}


def _number(objective: str, value: object) -> float:
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.empty((0,))
    if array.size != 1:
        raise InvalidInputError(f"`measure` must return one number of '{objective}' for one network, got {value!r:.80}")
    return float(array.item())
