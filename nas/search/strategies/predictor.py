"""The default strategy: learn to predict, and measure where the hypervolume is expected to grow most."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from nas.objectives.objective import Objective
from nas.search.acquisition import ENOUGH, Prediction, Scale, choose_by_expected_gain
from nas.search.evolution.evolve import evolve
from nas.search.evolution.variation import balanced_sample, reset_genes
from nas.search.screening import Screen, draw_screened
from nas.search.state import SearchState
from nas.search.strategies.strategy import STRATEGIES, feasible, random_networks, seeds
from nas.tasks.metric import METRICS
from predictors import PREDICTORS, Features, Predictor, Signal, choose_predictor, tune_predictor
from predictors.features.topology import checked_traits
from predictors.predictor import mixture_of, relearn
from search_spaces.errors import InvalidInputError, check_range, check_whole
from search_spaces.space.space import Genomes

Floats = NDArray[np.float64]

POPULATION = 100
GENERATIONS = 60
N_NEIGHBOURS = 3  # changed copies of each promising network
START_SHARE = 0.35  # of the measurements, at most
START_PER_GENE = 2  # networks at the start for each gene, at most
INFORMED_START = 6  # networks at the start where signals tell good ones already
SHORTLISTED = 4  # networks of which costly signals are asked for each that is measured


@STRATEGIES.register("predictor")
@dataclass
class PredictorStrategy:
    """Baselines and a balanced sample first; then what promises most by the predictors, learned anew each time.

    Where there are signals, predictors learn what these leave, and the start is what they promise. One that costs is asked
    for of some random networks first, and predicted for the others; each time the networks that promise most by that are
    asked for, and what they answer decides among them.

    Attributes:
        predictors: Name of a registered predictor; `auto` chooses for each objective the one that ranks unseen networks
            best, and again whenever the measurements have doubled.
        tuning_trials: Trials of Optuna that tune it each time it is chosen.
        traits: Traits of blocks whose pairs predictors see, see `predictors.features.topology.TRAITS`.
        screened: Random networks of which a costly signal is asked for, for each that may be measured; at most 400 in all.
    """

    predictors: str = "auto"
    tuning_trials: int = 0
    traits: tuple[str, ...] = ()
    screened: float = 5.0
    names: dict[str, str] = field(default_factory=dict, init=False)
    _models: dict[str, Predictor] = field(default_factory=dict, init=False)
    _surrogates: dict[str, "Surrogate"] = field(default_factory=dict, init=False)
    _coarse: dict[str, "Surrogate"] = field(default_factory=dict, init=False)
    _screens: dict[str, tuple[Screen, ...]] = field(default_factory=dict, init=False)
    _features: Features | None = field(default=None, init=False)
    _chosen_at: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.predictors, str):
            raise InvalidInputError(f"predictors must be the name of one, or auto, got {self.predictors!r}")
        if self.predictors != "auto":
            PREDICTORS.get(self.predictors)
        self.traits = checked_traits(self.traits)
        check_whole("tuning_trials", self.tuning_trials, 0, 10_000)
        check_range("screened", self.screened, 0, 1_000)

    def report(self) -> Mapping[str, str]:
        """See `Strategy`."""
        return self.names

    def propose(self, state: SearchState, n: int, rng: np.random.Generator) -> Genomes:
        """See `Strategy`."""
        if self._features is None:
            self._features = Features(state.space, self.traits)
            self._screens = screen(state, self._features, self.screened, rng)
        if not len(state):
            return self._start(state, n, rng)
        surrogates = self.learn(state, rng)
        if not any(self._screens.values()):
            candidates = _candidates(state, surrogates, rng)
            return candidates[most_promising(state, surrogates, candidates, n)]
        candidates = _candidates(state, self._coarse, rng)
        shortlist = candidates[most_promising(state, self._coarse, candidates, SHORTLISTED * n)]
        return shortlist[most_promising(state, surrogates, shortlist, n)]

    def learn(self, state: SearchState, rng: np.random.Generator) -> dict[str, "Surrogate"]:
        """Return every expensive objective as learned from what was measured."""
        if len(state) >= 2 * self._chosen_at:
            self._choose(state, rng)
        for name in state.expensive:
            self._learn_one(self._surrogates, name, self._seen(state, name), state)
            for each in self._screens.get(name, ()):
                each.learn()
            if self._screens:
                self._learn_one(self._coarse, name, self._seen(state, name, by="predicted"), state)
        return self._surrogates

    def _learn_one(self, surrogates: dict[str, "Surrogate"], name: str, features: Features, state: SearchState) -> None:
        if name in surrogates:
            surrogates[name].learn(state)
        else:
            surrogates[name] = Surrogate(features, clone(self._models[name]), state, name)

    def _choose(self, state: SearchState, rng: np.random.Generator) -> None:
        """Choose a predictor for each objective, and tune it."""
        for name, y in state.expensive.items():
            features = self._seen(state, name)
            seen, is_auto = features(state.genomes), self.predictors == "auto"
            self.names[name] = choose_predictor(features, seen, y)[0] if is_auto else self.predictors
            self._models[name] = tune_predictor(self.names[name], features, seen, y, n_trials=self.tuning_trials, rng=rng)
        self._surrogates, self._coarse = {}, {}
        self._chosen_at = len(state)

    @property
    def _plain(self) -> Features:
        assert self._features is not None
        return self._features

    @property
    def _costs(self) -> Features:
        return replace(self._plain, sees_cell=False)

    def _seen(self, state: SearchState, name: str, by: Literal["asked", "predicted"] = "asked") -> Features:
        """Return what the predictor of an objective sees; costly signals are asked for, or predicted."""
        plain = self._plain if name not in METRICS or METRICS[name].of_data else self._costs
        return plain.with_signals(self._signals(state, name, by))

    def _signals(self, state: SearchState, name: str, by: Literal["asked", "predicted"]) -> tuple[Signal, ...]:
        free = tuple(signal for signal in state.signals.get(name, ()) if signal.is_free)
        return free + tuple(getattr(each, by) for each in self._screens.get(name, ()))

    def _start(self, state: SearchState, n: int, rng: np.random.Generator) -> Genomes:
        """Return what to measure first: by chance, or where every expensive objective has an estimate, by these."""
        estimates = {}
        for name in state.expensive_names:
            for each in self._screens.get(name, ()):
                each.learn()
            if signals := [signal for signal in self._signals(state, name, "predicted") if signal.slope == 1]:
                estimates[name] = _one_column(signals[-1])  # one that costs, if there is one: it says most
        if not estimates or set(estimates) != set(state.expensive_names):
            return initial_design(state, n, rng)
        first = seeds(state)
        front = _evolved(state, estimates, rng)
        n = max(n, INFORMED_START)
        spread = front[np.linspace(0, len(front) - 1, min(len(front), n)).round().astype(int)]
        chosen = state.unmeasured(np.concatenate([first, spread]))
        missing = n - len(spread)  # of a front that is short, as with one objective
        if missing > 0:
            near = state.open(state.space.canonicalize(reset_genes(state.space, front, rng)))
            chosen = np.concatenate([chosen, near[:missing] if len(near) else random_networks(state, missing, rng)])
        return state.unmeasured(chosen)


class Surrogate:
    """An expensive objective as a predictor knows it; called, it predicts on the logarithmic scale.

    Args:
        features: What the predictor sees.
        model: Fitted here.
        state: With what was measured.
        name: Of the objective.
    """

    def __init__(self, features: Features, model: Predictor, state: SearchState, name: str) -> None:
        self.features = features
        self.model = model
        self.name = name
        self._learn(state, lambda seen, z: self.model.fit(seen, z))

    def learn(self, state: SearchState) -> None:
        """Learn from all that is measured by now."""
        self._learn(state, partial(relearn, self.model))

    def _learn(self, state: SearchState, fit: Callable[[Floats, Floats], object]) -> None:
        """Learn what is within reach; of the rest what would be taken to be so, as if it lay at the end."""
        y, seen = state.expensive[self.name], self.features(state.genomes)
        reach = max(state.reach(self.name), float(np.sort(y)[:ENOUGH][-1]))  # of fewer nothing is learned
        within = y <= reach
        self.scale = Scale.of(y[within])
        fit(seen[within], self.scale.forward(y[within]))
        if not within.all():
            surprising = ~within & (self.model.predict(seen) <= np.log(reach + self.scale.shift))
            if surprising.any():
                learned = within | surprising
                fit(seen[learned], self.scale.forward(np.minimum(y[learned], reach)))

    def __call__(self, genomes: Genomes) -> Floats:
        """Return predictions for genomes of shape `(n, n_genes)`; smaller is better."""
        return self.model.predict(self.features(genomes))

    def prediction(self, genomes: Genomes) -> Prediction:
        """Return what is predicted, with how sure."""
        return Prediction(*mixture_of(self.model, self.features(genomes)), self.scale)


def _one_column(signal: Signal) -> Callable[[Genomes], Floats]:
    return lambda genomes: signal(genomes)[:, 0]


def screen(state: SearchState, features: Features, share: float, rng: np.random.Generator) -> dict[str, tuple[Screen, ...]]:
    """Ask for every costly signal of random networks that satisfy the constraints; return the screens by objective."""
    costly = {name: [s for s in signals if not s.is_free] for name, signals in state.signals.items()}
    if not any(costly.values()):
        return {}
    drawn = draw_screened(state, share, rng)
    if not len(drawn):
        return {}
    found = {name: tuple(Screen(signal, features) for signal in signals) for name, signals in costly.items()}
    for screens in found.values():
        for each in screens:
            each.ask(drawn)
    return found


def most_promising(state: SearchState, surrogates: Mapping[str, Surrogate], candidates: Genomes, n: int) -> list[int]:
    """Return the rows of the candidates from which the hypervolume is expected to gain most, one after another."""
    if not len(candidates):
        return []
    objectives = [surrogate.prediction(candidates) for surrogate in surrogates.values()]
    objectives += [Prediction.known(function(candidates)) for function in state.cheap.values()]
    return choose_by_expected_gain(objectives, state.feasible_values(), n, state.corner())


def _candidates(state: SearchState, surrogates: Mapping[str, "Surrogate"], rng: np.random.Generator) -> Genomes:
    """Return networks to choose from: all of a small space, otherwise what evolution finds, and near it."""
    everything = state.everything
    if everything is not None:
        return state.open(everything)
    best = state.best()
    front = _evolved(state, surrogates, rng, initial=best)
    promising = np.concatenate([front, best])
    near = [state.space.canonicalize(reset_genes(state.space, promising, rng)) for _ in range(N_NEIGHBOURS)]
    candidates = state.open(np.concatenate([front, *near]))
    return candidates if len(candidates) else random_networks(state, 1000, rng)


def _evolved(
    state: SearchState, objectives: Mapping[str, Objective], rng: np.random.Generator, initial: Genomes | None = None
) -> Genomes:
    """Return the front of predictions of the expensive objectives and of the cheap ones, as evolution finds it."""
    everything = {**objectives, **state.cheap}
    return evolve(
        state.space,
        everything,
        state.constraints,
        population=POPULATION,
        generations=GENERATIONS,
        rng=rng,
        initial=initial,
    ).genomes


def initial_design(state: SearchState, n: int, rng: np.random.Generator) -> Genomes:
    """Return the baselines, then networks with every option equally often, spread over the first cheap objective."""
    n = max(4, n, int(min(START_SHARE * state.budget, START_PER_GENE * len(state.space.choices))))
    first = seeds(state)
    missing = max(n - len(first), 0)
    if state.constraints:
        pool = state.open(np.concatenate([feasible(state, rng), random_networks(state, 50 * n, rng)]))
    elif state.cheap:
        pool = state.unmeasured(balanced_sample(state.space, 20 * n, rng))
    else:
        return state.unmeasured(np.concatenate([first, balanced_sample(state.space, missing, rng)]))
    pool = rng.permutation(pool)
    if state.cheap:
        order = np.argsort(next(iter(state.cheap.values()))(pool), kind="stable")
        pool = pool[order[np.linspace(0, len(pool) - 1, min(missing, len(pool))).round().astype(int)]]
    return state.unmeasured(np.concatenate([first, pool[:missing]]))
