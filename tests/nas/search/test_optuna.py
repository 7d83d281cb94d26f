"""The adapter to Optuna's samplers adds nothing to what they do by themselves, and takes nothing away."""

import warnings

import numpy as np
import optuna
import pytest
from optuna.samplers import GPSampler, TPESampler

from nas.search import search
from nas.search.strategies import STRATEGIES
from nas.search.strategies.optuna_samplers import OptunaStrategy
from search_spaces import Choice, TabularSpace
from search_spaces.space.baselines import baselines

SPACE = TabularSpace([Choice(f"c{i}", tuple(range(3))) for i in range(4)])


def values(genome):
    return float(((genome - 1.2) ** 2).sum()), float(genome.sum())


def bare(sampler, n):
    """Return the first n distinct networks that a sampler asks for when it evaluates whatever it asks for."""
    study = optuna.create_study(sampler=sampler, directions=["minimize", "minimize"])
    names = [choice.name for choice in SPACE.choices]
    distributions = {name: optuna.distributions.CategoricalDistribution((0, 1, 2)) for name in names}
    found = []
    for seed in baselines(SPACE).values():
        found.append(tuple(int(gene) for gene in seed))
        params = dict(zip(names, found[-1], strict=True))
        trial = optuna.trial.create_trial(params=params, distributions=distributions, values=values(seed))
        study.add_trial(trial)
    while len(found) < n:
        trial = study.ask(distributions)
        genome = tuple(trial.params[name] for name in names)
        study.tell(trial, values(np.array(genome)))
        if genome not in found:
            found.append(genome)
    return found


@pytest.mark.parametrize(("build", "n"), [(TPESampler, 40), (GPSampler, 25)])
def test_it_measures_what_the_sampler_by_itself_would(build, n, monkeypatch):
    monkeypatch.setattr("nas.search.strategies.optuna_samplers.N_WASTED", 1000)
    monkeypatch.setitem(STRATEGIES._entries, "here", lambda: OptunaStrategy(lambda seed: build(seed=7)))

    def measure(genomes):
        first, second = zip(*map(values, genomes), strict=True)
        return {"a": np.array(first), "b": np.array(second)}

    result = search(SPACE, measure, n_measurements=n, strategy="here", rng=np.random.default_rng(0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        assert [tuple(genome) for genome in result.genomes.tolist()] == bare(build(seed=7), n)
