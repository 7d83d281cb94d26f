"""The default strategy: learn to predict, and measure where the hypervolume is expected to grow most."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from nas.search.acquisition import Scale, choose_by_expected_gain
from nas.search.evolution.evolve import evolve
from nas.search.evolution.variation import balanced_sample, reset_genes
from nas.search.pareto import columns
from nas.search.state import SearchState
from nas.search.strategies.strategy import STRATEGIES, random_networks, seeds
from predictors import PREDICTORS, Predictor, choose_predictor, encode, tune_predictor
from search_spaces.space.space import Genomes, SearchSpace

Floats = NDArray[np.float64]

POPULATION = 100
GENERATIONS = 60
N_NEIGHBOURS = 3  # changed copies of each promising network
START_SHARE = 0.35  # of the measurements, at most
START_PER_GENE = 2  # networks at the start for each gene, at most


@STRATEGIES.register("predictor")
class PredictorStrategy:
    """Baselines and a balanced sample first; then what promises most by the predictors, learned anew each time.

    Args:
        predictors: Name of a registered predictor; `auto` chooses for each objective the one that ranks unseen networks
            best, and again whenever the measurements have doubled.
        tuning_trials: Trials of Optuna that tune it each time it is chosen.
    """

    def __init__(self, predictors: str = "auto", tuning_trials: int = 0) -> None:
        if predictors != "auto":
            PREDICTORS.get(predictors)
        self.predictors = predictors
        self.tuning_trials = tuning_trials
        self.names: dict[str, str] = {}
        self._models: dict[str, Predictor] = {}
        self._chosen_at = 0

    def propose(self, state: SearchState, n: int, rng: np.random.Generator) -> Genomes:
        """See `Strategy`."""
        if not len(state):
            return initial_design(state, n, rng)
        surrogates = self.learn(state, rng)
        candidates = _candidates(state, surrogates, rng)
        return candidates[most_promising(state, surrogates, candidates, n)]

    def learn(self, state: SearchState, rng: np.random.Generator) -> dict[str, "Surrogate"]:
        """Return every expensive objective as learned from what was measured."""
        features = encode(state.space, state.genomes)
        if len(state) >= 2 * self._chosen_at:
            for name, y in state.expensive.items():
                auto = self.predictors == "auto"
                self.names[name] = choose_predictor(state.space, features, y)[0] if auto else self.predictors
                self._models[name] = tune_predictor(
                    self.names[name], state.space, features, y, n_trials=self.tuning_trials, rng=rng
                )
            self._chosen_at = len(state)
        return {name: Surrogate(state.space, clone(self._models[name]), features, y) for name, y in state.expensive.items()}


class Surrogate:
    """An expensive objective as a predictor knows it; called, it predicts on the logarithmic scale.

    Args:
        space: The space.
        model: Fitted here.
        features: Encoded genomes that were measured.
        y: Their values.
    """

    def __init__(self, space: SearchSpace, model: Predictor, features: Floats, y: Floats) -> None:
        self.space = space
        self.scale = Scale.of(y)
        self.model = model.fit(features, self.scale.forward(y))

    def __call__(self, genomes: Genomes) -> Floats:
        """Return predictions for genomes of shape `(n, n_genes)`; smaller is better."""
        return self.model.predict(encode(self.space, genomes))

    def both(self, genomes: Genomes) -> tuple[Floats, Floats]:
        """Return predictions and their standard deviations."""
        return self.model.predict(encode(self.space, genomes), return_std=True)


def most_promising(state: SearchState, surrogates: Mapping[str, Surrogate], candidates: Genomes, n: int) -> list[int]:
    """Return the rows of the candidates from which the hypervolume is expected to gain most, one after another."""
    if not len(candidates):
        return []
    pairs = {name: objective.both(candidates) for name, objective in surrogates.items()}
    pairs |= {name: (function(candidates), np.zeros(len(candidates))) for name, function in state.cheap.items()}
    means, deviations = (columns({name: pair[i] for name, pair in pairs.items()}) for i in (0, 1))
    scales = [surrogates[name].scale if name in surrogates else None for name in pairs]
    return choose_by_expected_gain(means, deviations, state.usable_values(), scales, n)


def _candidates(state: SearchState, surrogates: Mapping[str, "Surrogate"], rng: np.random.Generator) -> Genomes:
    """Return networks to choose from: all of a small space, otherwise what evolution finds, and near it."""
    everything = state.everything
    if everything is not None:
        return state.open(everything)
    best = state.best()
    front = evolve(
        state.space,
        {**surrogates, **state.cheap},
        state.constraints,
        population=POPULATION,
        generations=GENERATIONS,
        rng=rng,
        initial=best,
    )
    promising = np.concatenate([front.genomes, best])
    near = [state.space.canonicalize(reset_genes(state.space, promising, rng)) for _ in range(N_NEIGHBOURS)]
    candidates = state.open(np.concatenate([front.genomes, *near]))
    return candidates if len(candidates) else random_networks(state, 1000, rng)


def initial_design(state: SearchState, n: int, rng: np.random.Generator) -> Genomes:
    """Return the baselines, then networks with every option equally often, spread over the first cheap objective."""
    n = max(4, n, int(min(START_SHARE * state.budget, START_PER_GENE * len(state.space.choices))))
    first = seeds(state)
    missing = max(n - len(first), 0)
    if state.constraints:
        cheap = state.cheap or {"violation": lambda genomes: np.zeros(len(genomes))}
        found = evolve(
            state.space, cheap, state.constraints, population=POPULATION, generations=GENERATIONS // 3, rng=rng
        ).genomes
        pool = state.open(np.concatenate([found, random_networks(state, 50 * n, rng)]))
    elif state.cheap:
        pool = state.unmeasured(balanced_sample(state.space, 20 * n, rng))
    else:
        return state.unmeasured(np.concatenate([first, balanced_sample(state.space, missing, rng)]))
    pool = rng.permutation(pool)
    if state.cheap:
        order = np.argsort(next(iter(state.cheap.values()))(pool), kind="stable")
        pool = pool[order[np.linspace(0, len(pool) - 1, min(missing, len(pool))).round().astype(int)]]
    return state.unmeasured(np.concatenate([first, pool[:missing]]))
