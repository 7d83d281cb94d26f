"""The interface of a strategy: what to measure next, given what is known."""

from collections.abc import Callable
from typing import Protocol

import numpy as np

from nas.search.evolution.evolve import evolve
from nas.search.state import SearchState
from search_spaces.registry import Registry
from search_spaces.space.baselines import baselines
from search_spaces.space.space import Genomes


class Strategy(Protocol):
    """Chooses what is measured. A new one is a file with a class of this method, registered under its name.

    `nas.search.search` asks it again and again until the budget is spent, each time after it has measured the answer. A
    search that was stopped is told the same answers again, so a strategy must draw everything random from `rng`.

    One that learns may have a method `report() -> Mapping[str, str]`: by expensive objective, the name of its predictor.
    """

    def propose(self, state: SearchState, n: int, rng: np.random.Generator) -> Genomes:
        """Return about `n` networks to measure, those that promise most first; none when nothing is left.

        Args:
            state: What was measured; nothing at first, then a whole first generation may be returned.
            n: Networks that are wanted.
            rng: Source of everything random.
        """


STRATEGIES: Registry[Callable[..., Strategy]] = Registry("search strategy")


def random_networks(state: SearchState, n: int, rng: np.random.Generator) -> Genomes:
    """Return up to `n` networks that satisfy the constraints and were not measured, drawn at random."""
    everything = state.everything
    if everything is not None:
        return rng.permutation(state.open(everything))[:n]
    found = np.empty((0, state.genomes.shape[1]), np.int16)
    for _ in range(20):  # a bounded number of draws: constraints may leave next to nothing
        found = state.open(np.concatenate([found, state.space.sample(max(50 * n, 1000), rng)]))
        if len(found) >= n:
            break
    return found[:n]


def feasible(state: SearchState, rng: np.random.Generator) -> Genomes:
    """Return networks that satisfy the constraints, found by evolution along the cheap objectives; some may be measured."""
    cheap = state.cheap or {"violation": lambda genomes: np.zeros(len(genomes))}
    found = evolve(state.space, cheap, state.constraints, population=100, generations=20, rng=rng)
    return found.genomes


def seeds(state: SearchState) -> Genomes:
    """Return the baselines of the space that were not measured: they are measured even where they break a constraint."""
    return state.unmeasured(np.array(list(baselines(state.space).values())))
