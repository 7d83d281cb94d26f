"""Optuna's samplers as strategies: `tpe`, `gp`, `optuna_nsga2`."""

import warnings
from collections.abc import Callable

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import Trial, TrialState, create_trial

from nas.search.state import SearchState
from nas.search.strategies.strategy import STRATEGIES, random_networks, seeds
from search_spaces.space.space import Genomes

N_WASTED = 20  # answers that cannot be measured, after which chance decides


class OptunaStrategy:
    """Asks a sampler and tells it what was measured; the study lives in memory.

    A sampler learns from every answer, so it is asked for no more networks than are measured at once. One that it asks for
    again is answered with what is known of it, as a study that measures it again would; one that breaks a constraint, or
    could not be measured, counts as the worst seen. To tell either as failed would teach it nothing: the sampler would ask
    for it again and again.

    Args:
        build: From a seed to the sampler.
    """

    def __init__(self, build: Callable[[int], BaseSampler]) -> None:
        self.build = build
        self.study: optuna.Study | None = None
        self._told: dict[bytes, list[float]] = {}
        self._asked: dict[bytes, Trial] = {}

    def propose(self, state: SearchState, n: int, rng: np.random.Generator) -> Genomes:
        """See `Strategy`."""
        if not len(state):
            return seeds(state)
        choices, n = state.space.choices, min(n, state.workers)
        # Places of options instead of options: these may be of any type.
        distributions = {c.name: CategoricalDistribution(tuple(range(len(c.options)))) for c in choices}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            if self.study is None:
                directions = [StudyDirection.MINIMIZE] * state.values().shape[1]
                self.study = optuna.create_study(sampler=self.build(int(rng.integers(2**31))), directions=directions)
            self._tell(self.study, state, distributions)
            failed = {row.tobytes() for row in state.failed}
            found = np.empty((0, len(choices)), state.genomes.dtype)
            for _ in range(n + N_WASTED):
                trial = self.study.ask(dict(distributions))
                genome = state.space.canonicalize(np.array([[trial.params[choice.name] for choice in choices]]))
                if (values := self._told.get(genome.tobytes())) is not None:
                    self.study.tell(trial, values)
                elif genome.tobytes() in failed or not state.feasible(genome).all():
                    self.study.tell(trial, state.values().max(axis=0).tolist())
                elif genome.tobytes() in self._asked:  # nothing is known of it yet
                    self.study.tell(trial, state=TrialState.FAIL)
                else:
                    found = np.concatenate([found, genome])
                    self._asked[genome.tobytes()] = trial
                    if len(found) == n:
                        return found
        rest = state.unmeasured(np.concatenate([found, random_networks(state, n, rng)]))
        return rest[:n]

    def _tell(self, study: optuna.Study, state: SearchState, distributions: dict[str, CategoricalDistribution]) -> None:
        for genome, row in list(zip(state.genomes, state.values().tolist(), strict=True))[len(self._told) :]:
            trial = self._asked.pop(genome.tobytes(), None)
            if trial is not None:
                study.tell(trial, row)
            else:
                params = dict(zip(distributions, genome.tolist(), strict=True))
                study.add_trial(create_trial(params=params, distributions=dict(distributions), values=row))
            self._told[genome.tobytes()] = row
        for genome in state.failed:
            if (trial := self._asked.pop(genome.tobytes(), None)) is not None:
                study.tell(trial, state.values().max(axis=0).tolist())


STRATEGIES.register("tpe")(lambda: OptunaStrategy(lambda seed: TPESampler(seed=seed)))
STRATEGIES.register("gp")(lambda: OptunaStrategy(lambda seed: GPSampler(seed=seed)))
STRATEGIES.register("optuna_nsga2")(lambda: OptunaStrategy(lambda seed: NSGAIISampler(population_size=20, seed=seed)))
