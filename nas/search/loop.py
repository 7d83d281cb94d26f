"""search: measure a few networks, learn to predict the rest, measure what looks best, and again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.preprocessing import PowerTransformer

from nas.search.acquisition import choose_by_expected_gain, choose_by_gain
from nas.search.evolution import Objective, evolve
from nas.search.pareto import columns, non_dominated
from predictors import PREDICTORS, Predictor, Quality, choose_predictor, cross_validate, encode
from search_spaces.baselines import baselines
from search_spaces.errors import InvalidInput
from search_spaces.space import Genomes, SearchSpace

Floats = NDArray[np.float64]
Measure = Callable[[Genomes], Mapping[str, Floats]]

POPULATION = 100
GENERATIONS = 60
N_NEIGHBOURS = 3  # changed copies of each promising network
N_ROUNDS = 12  # of predicting and measuring, after the start, unless a batch is given
START_SHARE = 0.35  # of the measurements, at most
START_PER_GENE = 2.5  # networks at the start for each gene, at most
SURPRISE_SHARE = 0.2  # with three objectives and more: share of each round for what the predictor is least sure of
ENUMERABLE = 20_000  # spaces up to this many networks are looked at whole


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
    batch: int | None = None,
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
        predictors: Name of a registered predictor; `auto` chooses the one that ranks unseen networks best, and again
            whenever the measurements have doubled.
        batch: Networks to measure before learning anew; None: a twelfth of what is left after the start.
        rng: Source of everything random.
        archive: Where measurements are kept; None keeps them in memory.
        progress: Called with measurements done and in all.

    Raises:
        InvalidInput: If `n_measurements` is below 4, the predictor is unknown, an objective is measured and cheap at once,
            a measurement is not finite, or nothing satisfies the constraints.
    """
    if n_measurements < 4:
        raise InvalidInput(f"n_measurements must be 4 or more, got {n_measurements}")
    if batch is not None and batch < 1:
        raise InvalidInput(f"batch must be 1 or more, got {batch}")
    if predictors != "auto":
        PREDICTORS.get(predictors)
    state = _State(space, measure, cheap or {}, constraints or {}, archive, n_measurements, progress)
    n_start = min(START_SHARE * n_measurements, START_PER_GENE * len(space.choices))
    state.measure(_start(state, max(4, int(n_start)), rng))
    batch = batch or max(1, -(-(state.budget - len(state.genomes)) // N_ROUNDS))
    teacher = _Teacher(space, predictors)
    while (left := state.budget - len(state.genomes)) > 0:
        chosen = _choose(state, teacher.learn(state), min(batch, left), rng)
        if not len(chosen):
            break
        state.measure(chosen)
    return state.result(teacher)


class _Learned:
    """An expensive objective as a model knows it, on a scale where its values look normal."""

    def __init__(self, space: SearchSpace, model: Predictor, genomes: Genomes, y: Floats) -> None:
        self.space = space
        self.scale = PowerTransformer()
        scaled = self.scale.fit_transform(y[:, None])[:, 0] if np.ptp(y) > 0 else np.zeros(len(y))
        self.measured = scaled
        self.model = model.fit(encode(space, genomes), scaled)

    def __call__(self, genomes: Genomes) -> Floats:
        """Return predictions on the scale of `measured`."""
        return self.model.predict(encode(self.space, genomes))

    def both(self, genomes: Genomes) -> tuple[Floats, Floats]:
        """Return predictions and their standard deviation."""
        return self.model.predict(encode(self.space, genomes), return_std=True)


class _Teacher:
    """Chooses predictors and fits them anew after each batch."""

    def __init__(self, space: SearchSpace, predictors: str) -> None:
        self.space = space
        self.predictors = predictors
        self.names: dict[str, str] = {}
        self._chosen_at = 0

    def learn(self, state: "_State") -> dict[str, _Learned]:
        """Return every expensive objective as learned from what was measured."""
        n = len(state.genomes)
        if self.predictors != "auto":
            self.names = dict.fromkeys(state.expensive, self.predictors)
        elif n >= 2 * self._chosen_at:
            features = encode(self.space, state.genomes)
            self.names = {name: choose_predictor(features, y)[0] for name, y in state.expensive.items()}
            self._chosen_at = n
        return {
            name: _Learned(self.space, PREDICTORS.get(self.names[name])(), state.genomes, y)
            for name, y in state.expensive.items()
        }

    def quality(self, state: "_State") -> dict[str, Quality]:
        """Return how well the predictors in use rank networks that they have not seen."""
        features = encode(self.space, state.genomes)
        return {
            name: cross_validate(PREDICTORS.get(self.names.get(name, "ridge")), features, y)
            for name, y in state.expensive.items()
            if len(y) >= 5
        }


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

    def result(self, teacher: _Teacher) -> SearchResult:
        """Return the tables of the search."""
        names = [*self.expensive, *self.cheap]
        options = [self.space.architecture(genome).options for genome in self.genomes]
        table = pd.DataFrame([{c.name: o.get(c.name) for c in self.space.choices} for o in options], dtype=object)
        table[names] = self.values()
        feasible = np.flatnonzero(self.feasible(self.genomes))
        front = feasible[non_dominated(self.values()[feasible])]
        shown = table.iloc[front].sort_values(names, ignore_index=True)
        return SearchResult(table, shown, self.genomes, teacher.quality(self))

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


def _choose(state: _State, learned: Mapping[str, _Learned], n: int, rng: np.random.Generator) -> Genomes:
    """Return networks to measure next.

    With two objectives those of the greatest expected gain in hypervolume; with more those that promise most, and a few that
    the predictors are least sure of.
    """
    usable = state.feasible(state.genomes)
    usable = usable if usable.any() else np.ones_like(usable)
    scaled = {name: objective.measured for name, objective in learned.items()}
    measured = columns({**scaled, **{name: function(state.genomes) for name, function in state.cheap.items()}})[usable]
    candidates = _candidates(state, learned, state.genomes[usable][non_dominated(measured)], rng)
    if not len(candidates):
        return candidates
    predicted = {name: objective.both(candidates) for name, objective in learned.items()}
    exact = {name: (function(candidates), np.zeros(len(candidates))) for name, function in state.cheap.items()}
    pairs = list({**predicted, **exact}.values())
    mean, deviation = (np.column_stack([pair[i] for pair in pairs]) for i in (0, 1))
    if mean.shape[1] == 2:
        worst = measured.max(axis=0) + 1e-9
        return candidates[choose_by_expected_gain(mean, deviation, measured, worst, n)]
    n_surprise = int(SURPRISE_SHARE * n)
    promising = choose_by_gain(mean, measured, n - n_surprise)
    rest = np.setdiff1d(np.arange(len(candidates)), promising)
    surprising = rest[np.argsort(-deviation[rest].sum(axis=1), kind="stable")][:n_surprise]
    return candidates[[*promising, *surprising]]


def _candidates(state: _State, learned: Mapping[str, _Learned], best: Genomes, rng: np.random.Generator) -> Genomes:
    """Return feasible networks that were not measured: all of a small space, otherwise what evolution finds, and near it."""
    space = state.space
    if np.prod(space.cardinalities.astype(float)) <= ENUMERABLE:
        everything = np.indices(tuple(space.cardinalities.tolist())).reshape(len(space.choices), -1).T
        candidates = state.unmeasured(everything)
        return candidates[state.feasible(candidates)]
    front = evolve(
        space,
        {**learned, **state.cheap},
        state.constraints,
        population=POPULATION,
        generations=GENERATIONS,
        rng=rng,
        initial=best,
    )
    near = [_neighbours(space, np.concatenate([front.genomes, best]), rng) for _ in range(N_NEIGHBOURS)]
    candidates = state.unmeasured(np.concatenate([front.genomes, *near]))
    candidates = candidates[state.feasible(candidates)]
    if not len(candidates):
        candidates = state.unmeasured(space.sample(1000, rng))
        candidates = candidates[state.feasible(candidates)]
    return candidates


def _neighbours(space: SearchSpace, genomes: Genomes, rng: np.random.Generator) -> Genomes:
    """Return each genome with one gene drawn anew."""
    changed = genomes.copy()
    genes = rng.integers(0, genomes.shape[1], len(genomes))
    changed[np.arange(len(genomes)), genes] = rng.integers(0, space.cardinalities[genes])
    return space.canonicalize(changed)
