"""Known: what a search has measured so far, and what it can tell of networks without measuring them."""

from collections.abc import Callable, Mapping
from concurrent.futures.process import BrokenProcessPool
from functools import cached_property
from typing import Protocol

import joblib
import numpy as np
from numpy.typing import NDArray

from nas.search.evolution import Objective
from nas.search.pareto import columns, non_dominated
from search_spaces.errors import InvalidInput
from search_spaces.space import Genomes, SearchSpace

Floats = NDArray[np.float64]
Measure = Callable[[Genomes], Mapping[str, Floats]]
ENUMERABLE = 20_000  # spaces up to this many combinations are looked at whole


class Memory(Protocol):
    """Where measured networks are kept beyond the search, see `nas.archive.Archive`."""

    def lookup(self, genomes: Genomes) -> list[dict[str, float] | None]:
        """Return what is known of each genome."""

    def add(self, genomes: Genomes, values: Mapping[str, Floats]) -> None:
        """Keep what was measured."""


class Known:
    """Everything that a search has measured, in the order in which it was asked for.

    Args:
        space: The space.
        measure: The expensive truth.
        cheap: Exact objectives by name.
        constraints: By name: genomes to values that must be 0 or less.
        memory: Where measurements are kept; None: here only.
        budget: Networks that may be measured.
        workers: Networks to measure at once, by joblib's backend in force.
        progress: Called with measurements done and in all.

    Attributes:
        genomes: Shape `(n, n_genes)`.
        expensive: Measured objectives by name, each `(n,)`.
        workers: Networks that are measured at once.
    """

    def __init__(
        self,
        space: SearchSpace,
        measure: Measure,
        cheap: Mapping[str, Objective],
        constraints: Mapping[str, Objective],
        memory: Memory | None,
        budget: int,
        workers: int,
        progress: Callable[[int, int], None],
    ) -> None:
        self.space = space
        self.cheap = cheap
        self.constraints = constraints
        self.budget = min(budget, space.size)
        self.genomes = np.empty((0, len(space.choices)), np.int16)
        self.expensive: dict[str, Floats] = {}
        self._measure = measure
        self._memory = memory
        self.workers = workers
        self._progress = progress

    def __len__(self) -> int:
        return len(self.genomes)

    def measure(self, genomes: Genomes) -> None:
        """Measure genomes that were not measured yet, up to the budget; each is kept as soon as it is done."""
        due = self.unmeasured(genomes)[: self.budget - len(self)]
        found = self._memory.lookup(due) if self._memory else [None] * len(due)
        missing = [i for i, values in enumerate(found) if values is None]
        self._progress(len(self) + len(due) - len(missing), self.budget)
        for n_done, (i, values) in enumerate(self._measure_each(due, missing), start=1):
            self._check(values)
            if self._memory:
                self._memory.add(due[i : i + 1], {name: np.array([y]) for name, y in values.items()})
            found[i] = values
            self._progress(len(self) + len(due) - len(missing) + n_done, self.budget)
        rows = [values for values in found if values is not None]
        for values in rows:
            self._check(values)
        self.genomes = np.concatenate([self.genomes, due])
        for name in rows[0] if rows else ():
            new = np.array([values[name] for values in rows])
            self.expensive[name] = np.concatenate([self.expensive.get(name, np.empty(0)), new])

    def _measure_each(self, due: Genomes, missing: list[int]):  # type: ignore[no-untyped-def]
        """Yield place and values of each missing genome, in the order in which they are done."""
        if self.workers == 1 or len(missing) == 1:
            yield from (_measure_one(self._measure, due[i : i + 1], i) for i in missing)
            return
        run = joblib.Parallel(n_jobs=self.workers, return_as="generator_unordered", batch_size=1, pre_dispatch="all")
        try:
            yield from run(joblib.delayed(_measure_one)(self._measure, due[i : i + 1], i) for i in missing)
        except BrokenProcessPool as error:
            raise InvalidInput(
                "a process that measured networks was killed; if memory ran out, use fewer workers: the same command goes on"
            ) from error

    def unmeasured(self, genomes: Genomes) -> Genomes:
        """Return distinct genomes that were not measured yet, in order."""
        seen = {row.tobytes() for row in self.genomes}
        new = []
        for row in self.space.canonicalize(genomes):
            if row.tobytes() not in seen:
                seen.add(row.tobytes())
                new.append(row)
        return np.array(new, np.int16).reshape(-1, self.genomes.shape[1])

    def open(self, genomes: Genomes) -> Genomes:
        """Return distinct genomes that keep the constraints and were not measured yet, in order."""
        left = self.unmeasured(genomes)
        return left[self.feasible(left)]

    def feasible(self, genomes: Genomes) -> NDArray[np.bool_]:
        """Return which genomes satisfy the constraints, shape `(n,)`."""
        mask = np.ones(len(genomes), dtype=bool)
        for excess in self.constraints.values():
            mask &= excess(genomes) <= 0
        return mask

    def usable(self) -> NDArray[np.bool_]:
        """Return which measured networks may stand on a front: those that keep the constraints; all if none does."""
        feasible = self.feasible(self.genomes)
        return feasible if feasible.any() else np.ones_like(feasible)

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

    def _check(self, values: Mapping[str, float]) -> None:
        if both := sorted(set(values) & set(self.cheap)):
            raise InvalidInput(f"the objectives {both} are both measured and given as cheap; leave one out")
        if bad := {name: value for name, value in values.items() if not np.isfinite(value)}:
            raise InvalidInput(f"measured objectives must be finite numbers, got {bad}")
        if self.expensive and set(values) != set(self.expensive):
            raise InvalidInput(f"every network must be measured alike: once {list(self.expensive)}, now {list(values)}")


def _measure_one(measure: Measure, row: Genomes, place: int) -> tuple[int, dict[str, float]]:
    return place, {name: float(y[0]) for name, y in measure(row).items()}
