"""search: measure a few networks, learn to predict the rest, measure what looks best, and again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas.search.evolution import Objective, evolve
from nas.search.pareto import columns, hypervolume, non_dominated
from predictors import PREDICTORS, Predictor, Quality, cross_validate, encode
from search_spaces.baselines import baselines
from search_spaces.errors import InvalidInput
from search_spaces.space import Genomes, SearchSpace

Floats = NDArray[np.float64]
Measure = Callable[[Genomes], Mapping[str, Floats]]

POPULATION = 100
GENERATIONS = 60
N_ROUNDS = 5  # of predicting and measuring, after the start
START_SHARE = 0.35  # of the measurements
SURPRISE_SHARE = 0.2  # of each round's measurements go to networks that the predictor is least sure of


class Memory(Protocol):
    """Where measured networks are kept, see `nas.archive.Archive`."""

    def lookup(self, genomes: Genomes) -> list[dict[str, float] | None]:
        """Return what is known of each genome."""

    def add(self, genomes: Genomes, values: Mapping[str, Floats]) -> None:
        """Keep what was measured."""


@dataclass(frozen=True, eq=False)
class SearchResult:
    """What a search measured.

    Attributes:
        archive: A row for each measured network: its choices by name (None where inactive), then the objectives.
        front: The non-dominated rows of `archive`.
        genomes: Shape `(n, n_genes)`, in the order of `archive`.
        quality: By expensive objective: how well the last predictor ranked networks it had not seen.
    """

    archive: pd.DataFrame
    front: pd.DataFrame
    genomes: Genomes
    quality: Mapping[str, Quality]


def search(
    space: SearchSpace,
    measure: Measure,
    *,
    cheap: Mapping[str, Objective] | None = None,
    constraints: Mapping[str, Objective] | None = None,
    n_measurements: int,
    predictors: str = "auto",
    rng: np.random.Generator,
    archive: Memory | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> SearchResult:
    """Find the front with few expensive measurements.

    Every network of the result has been measured. A search that was stopped goes on when it is started again with the
    same arguments and archive: what the archive holds is not measured again.

    Args:
        space: The space.
        measure: Genomes `(n, n_genes)` to expensive objectives by name, each `(n,)`, minimised.
        cheap: Objectives that are exact and free, such as those of a table, minimised.
        constraints: By name: genomes to values that must be 0 or less; cheap.
        n_measurements: Distinct networks to measure, at least 4; fewer if the space is smaller.
        predictors: Name of a registered predictor, or `auto`.
        rng: Source of everything random.
        archive: Where measurements are kept; None keeps them in memory.
        progress: Called with measurements done and in all.

    Raises:
        InvalidInput: If `n_measurements` is below 4, the predictor is unknown, an objective is measured and cheap at once,
            a measurement is not finite, or nothing satisfies the constraints.
    """
    if n_measurements < 4:
        raise InvalidInput(f"n_measurements must be 4 or more, got {n_measurements}")
    build = PREDICTORS.get("ridge" if predictors == "auto" else predictors)
    state = _State(space, measure, cheap or {}, constraints or {}, archive, n_measurements, progress)
    state.measure(_start(state, max(4, int(START_SHARE * n_measurements)), rng))
    models: dict[str, Predictor] = {}
    for round_ in range(N_ROUNDS):
        left = state.budget - len(state.genomes)
        n = left if round_ == N_ROUNDS - 1 else left // (N_ROUNDS - round_)
        if n < 1:
            continue
        models = {name: build().fit(encode(space, state.genomes), y) for name, y in state.expensive.items()}
        chosen = _choose(state, models, n, rng)
        if not len(chosen):
            break
        state.measure(chosen)
    return state.result(build)


class _State:
    """Everything measured so far."""

    def __init__(
        self,
        space: SearchSpace,
        measure: Measure,
        cheap: Mapping[str, Objective],
        constraints: Mapping[str, Objective],
        archive: Memory | None,
        n_measurements: int,
        progress: Callable[[int, int], None],
    ) -> None:
        self.space = space
        self.cheap = cheap
        self.constraints = constraints
        self.budget = min(n_measurements, space.size)
        self.genomes = np.empty((0, len(space.choices)), np.int16)
        self.expensive: dict[str, Floats] = {}
        self._measure = measure
        self._archive = archive
        self._progress = progress

    def measure(self, genomes: Genomes) -> None:
        """Measure genomes that were not measured yet, one by one so that nothing is lost, up to the budget."""
        for genome in self.unmeasured(genomes)[: self.budget - len(self.genomes)]:
            row = genome[None]
            known = self._archive.lookup(row)[0] if self._archive else None
            values = known or {name: float(y[0]) for name, y in self._measure(row).items()}
            self._check(values)
            if self._archive and known is None:
                self._archive.add(row, {name: np.array([y]) for name, y in values.items()})
            self.genomes = np.concatenate([self.genomes, row])
            for name, y in values.items():
                self.expensive[name] = np.append(self.expensive.get(name, np.empty(0)), y)
            self._progress(len(self.genomes), self.budget)

    def unmeasured(self, genomes: Genomes) -> Genomes:
        """Return distinct genomes that were not measured yet, in order."""
        seen = {row.tobytes() for row in self.genomes}
        new = []
        for row in self.space.canonicalize(genomes):
            if row.tobytes() not in seen:
                seen.add(row.tobytes())
                new.append(row)
        return np.array(new, np.int16).reshape(-1, self.genomes.shape[1])

    def feasible(self, genomes: Genomes) -> NDArray[np.bool_]:
        """Return which genomes satisfy the constraints, shape `(n,)`."""
        mask = np.ones(len(genomes), dtype=bool)
        for excess in self.constraints.values():
            mask &= excess(genomes) <= 0
        return mask

    def values(self) -> Floats:
        """Return all objectives of what was measured, expensive ones first, shape `(n, m)`."""
        return columns({**self.expensive, **{name: function(self.genomes) for name, function in self.cheap.items()}})

    def result(self, build: Callable[[], Predictor]) -> SearchResult:
        """Return the tables of the search."""
        names = [*self.expensive, *self.cheap]
        options = [self.space.architecture(genome).options for genome in self.genomes]
        table = pd.DataFrame([{c.name: o.get(c.name) for c in self.space.choices} for o in options], dtype=object)
        table[names] = self.values()
        feasible = np.flatnonzero(self.feasible(self.genomes))
        front = feasible[non_dominated(self.values()[feasible])]
        features = encode(self.space, self.genomes)
        quality = {n: cross_validate(build, features, y) for n, y in self.expensive.items() if len(y) >= 5}
        return SearchResult(table, table.iloc[front].sort_values(names, ignore_index=True), self.genomes, quality)

    def _check(self, values: Mapping[str, float]) -> None:
        if both := sorted(set(values) & set(self.cheap)):
            raise InvalidInput(f"the objectives {both} are both measured and given as cheap; leave one out")
        if bad := {name: value for name, value in values.items() if not np.isfinite(value)}:
            raise InvalidInput(f"measured objectives must be finite numbers, got {bad}")


def _start(state: _State, n: int, rng: np.random.Generator) -> Genomes:
    """Return the baselines, then random networks spread evenly over the first cheap objective."""
    seeds = np.array(list(baselines(state.space).values()))
    pool = np.unique(state.space.sample(max(50 * n, 1000), rng), axis=0)
    if state.constraints:
        feasible = evolve(
            state.space,
            state.cheap or {"violation": lambda genomes: np.zeros(len(genomes))},
            state.constraints,
            population=POPULATION,
            generations=GENERATIONS // 3,
            rng=rng,
        ).genomes
        pool = np.concatenate([feasible, pool[state.feasible(pool)]])
    pool = rng.permutation(pool)
    if state.cheap:
        order = np.argsort(next(iter(state.cheap.values()))(pool), kind="stable")
        picks = np.linspace(0, len(pool) - 1, min(n, len(pool))).round().astype(int)
        pool = pool[order[picks]]
    return state.unmeasured(np.concatenate([seeds, pool]))[: max(n, len(seeds))]


def _choose(state: _State, models: Mapping[str, Predictor], n: int, rng: np.random.Generator) -> Genomes:
    """Return networks to measure next: those that promise most, and a few that the predictors are least sure of."""
    space = state.space
    predicted: dict[str, Objective] = {name: partial(_predict, model, space) for name, model in models.items()}
    objectives = {**predicted, **state.cheap}
    usable = state.feasible(state.genomes)
    usable = usable if usable.any() else np.ones_like(usable)
    measured = state.values()[usable]
    best = state.genomes[usable][non_dominated(measured)]
    front = evolve(
        space,
        objectives,
        state.constraints,
        population=POPULATION,
        generations=GENERATIONS,
        rng=rng,
        initial=best,
    )
    near = _neighbours(space, np.concatenate([front.genomes, best]), rng)
    candidates = state.unmeasured(np.concatenate([front.genomes, near]))
    candidates = candidates[state.feasible(candidates)]
    if not len(candidates):
        candidates = state.unmeasured(space.sample(1000, rng))
        candidates = candidates[state.feasible(candidates)]
    values = columns({name: function(candidates) for name, function in objectives.items()})
    n_surprise = int(SURPRISE_SHARE * n)
    promising = by_hypervolume_gain(values, measured, n - n_surprise)
    rest = np.setdiff1d(np.arange(len(candidates)), promising)
    surprising = rest[np.argsort(-_uncertainty(models, encode(space, candidates[rest])), kind="stable")][:n_surprise]
    return candidates[[*promising, *surprising]]


def _predict(model: Predictor, space: SearchSpace, genomes: Genomes) -> Floats:
    return model.predict(encode(space, genomes))


def _uncertainty(models: Mapping[str, Predictor], features: Floats) -> Floats:
    total = np.zeros(len(features))
    for model in models.values():
        if len(features):
            total += model.predict(features, return_std=True)[1]
    return total


def _neighbours(space: SearchSpace, genomes: Genomes, rng: np.random.Generator) -> Genomes:
    """Return each genome with one gene drawn anew."""
    changed = genomes.copy()
    genes = rng.integers(0, genomes.shape[1], len(genomes))
    changed[np.arange(len(genomes)), genes] = rng.integers(0, space.cardinalities[genes])
    return space.canonicalize(changed)


def by_hypervolume_gain(candidates: Floats, measured: Floats, n: int) -> list[int]:
    """Choose candidates one after another, each the one that adds most hypervolume to what is there.

    Args:
        candidates: Predicted objectives, shape `(k, m)`.
        measured: Objectives of what is there, shape `(n, m)`.
        n: How many to choose.

    Returns:
        Rows of `candidates`; when none adds anything, the nearest to adding come first.
    """
    everything = np.concatenate([measured, candidates])
    low, high = everything.min(axis=0), everything.max(axis=0)
    scale = np.where(high > low, high - low, 1.0)
    points, there = (candidates - low) / scale, (measured - low) / scale
    reference = np.full(points.shape[1], 1.1)
    there = there[non_dominated(there)]
    left = list(range(len(points)))
    chosen: list[int] = []
    while left and len(chosen) < n:
        volume = hypervolume(there, reference)
        gains = [hypervolume(np.vstack([there, points[i]]), reference) - volume for i in left]
        # Ties, mostly of no gain at all, go to the candidate least dominated by what is there.
        excess = [float(np.min(np.max(points[i] - there, axis=1))) for i in left]
        pick = min(range(len(left)), key=lambda k: (-round(gains[k], 12), excess[k]))
        there = np.vstack([there, points[left[pick]]])
        there = there[non_dominated(there)]
        chosen.append(left.pop(pick))
    return chosen
