"""The default strategy: learn to predict, and measure where the hypervolume is expected to grow most."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from nas.search.acquisition import Scale, choose_by_expected_gain
from nas.search.evolution.evolve import evolve
from nas.search.evolution.variation import balanced_sample, reset_genes
from nas.search.pareto import columns
from nas.search.state import Known
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

    def propose(self, known: Known, n: int, rng: np.random.Generator) -> Genomes:
        """See `Strategy`."""
        if not len(known):
            return first_networks(known, n, rng)
        learned = self.learn(known, rng)
        candidates = _candidates(known, learned, rng)
        return candidates[most_promising(known, learned, candidates, n)]

    def learn(self, known: Known, rng: np.random.Generator) -> dict[str, "Learned"]:
        """Return every expensive objective as learned from what was measured."""
        features = encode(known.space, known.genomes)
        if len(known) >= 2 * self._chosen_at:
            for name, y in known.expensive.items():
                auto = self.predictors == "auto"
                self.names[name] = choose_predictor(known.space, features, y)[0] if auto else self.predictors
                self._models[name] = tune_predictor(
                    self.names[name], known.space, features, y, n_trials=self.tuning_trials, rng=rng
                )
            self._chosen_at = len(known)
        return {name: Learned(known.space, clone(self._models[name]), features, y) for name, y in known.expensive.items()}


class Learned:
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


def most_promising(known: Known, learned: Mapping[str, Learned], candidates: Genomes, n: int) -> list[int]:
    """Return the rows of the candidates from which the hypervolume is expected to gain most, one after another."""
    if not len(candidates):
        return []
    pairs = {name: objective.both(candidates) for name, objective in learned.items()}
    pairs |= {name: (function(candidates), np.zeros(len(candidates))) for name, function in known.cheap.items()}
    means, deviations = (columns({name: pair[i] for name, pair in pairs.items()}) for i in (0, 1))
    scales = [learned[name].scale if name in learned else None for name in pairs]
    return choose_by_expected_gain(means, deviations, known.usable_values(), scales, n)


def _candidates(known: Known, learned: Mapping[str, "Learned"], rng: np.random.Generator) -> Genomes:
    """Return networks to choose from: all of a small space, otherwise what evolution finds, and near it."""
    everything = known.everything
    if everything is not None:
        return known.open(everything)
    best = known.best()
    front = evolve(
        known.space,
        {**learned, **known.cheap},
        known.constraints,
        population=POPULATION,
        generations=GENERATIONS,
        rng=rng,
        initial=best,
    )
    promising = np.concatenate([front.genomes, best])
    near = [known.space.canonicalize(reset_genes(known.space, promising, rng)) for _ in range(N_NEIGHBOURS)]
    candidates = known.open(np.concatenate([front.genomes, *near]))
    return candidates if len(candidates) else random_networks(known, 1000, rng)


def first_networks(known: Known, n: int, rng: np.random.Generator) -> Genomes:
    """Return the baselines, then networks with every option equally often, spread over the first cheap objective."""
    n = max(4, n, int(min(START_SHARE * known.budget, START_PER_GENE * len(known.space.choices))))
    first = seeds(known)
    missing = max(n - len(first), 0)
    if known.constraints:
        cheap = known.cheap or {"violation": lambda genomes: np.zeros(len(genomes))}
        found = evolve(
            known.space, cheap, known.constraints, population=POPULATION, generations=GENERATIONS // 3, rng=rng
        ).genomes
        pool = known.open(np.concatenate([found, random_networks(known, 50 * n, rng)]))
    elif known.cheap:
        pool = known.unmeasured(balanced_sample(known.space, 20 * n, rng))
    else:
        return known.unmeasured(np.concatenate([first, balanced_sample(known.space, missing, rng)]))
    pool = rng.permutation(pool)
    if known.cheap:
        order = np.argsort(next(iter(known.cheap.values()))(pool), kind="stable")
        pool = pool[order[np.linspace(0, len(pool) - 1, min(missing, len(pool))).round().astype(int)]]
    return known.unmeasured(np.concatenate([first, pool[:missing]]))
