"""Strategies that learn no model: what others are measured against, and a start where nothing can be learned."""

from dataclasses import dataclass

import numpy as np
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.operators.survival.rank_and_crowding import RankAndCrowding

from nas.search.evolution.variation import balanced_sample, draw_children
from nas.search.state import SearchState
from nas.search.strategies.strategy import STRATEGIES, random_networks, seeds
from search_spaces.errors import check_range
from search_spaces.space.space import Genomes

N_ATTEMPTS = 8


@STRATEGIES.register("random")
class RandomStrategy:
    """Networks drawn at random, the baselines first."""

    def propose(self, state: SearchState, n: int, rng: np.random.Generator) -> Genomes:
        """See `Strategy`."""
        return random_networks(state, n, rng) if len(state) else _initial_design(state, n, rng)


@STRATEGIES.register("local")
class LocalStrategy:
    """Networks that differ from one of the front in one choice.

    Source:
        Pareto local search, Paquete et al. 2004; White et al. 2020 (arXiv:2005.02960) for how far it goes on this task.
    """

    def propose(self, state: SearchState, n: int, rng: np.random.Generator) -> Genomes:
        """See `Strategy`."""
        if not len(state):
            return _initial_design(state, n, rng)
        near = state.open(np.concatenate([_one_choice_away(state, genome) for genome in state.best()]))
        return rng.permutation(near)[:n] if len(near) else random_networks(state, n, rng)


@STRATEGIES.register("nsga2")
@dataclass
class Nsga2Strategy:
    """NSGA-II on true measurements: nothing is predicted.

    Attributes:
        population: Networks that have children.

    Source:
        Deb et al. 2002, survival as in pymoo; children as in `operators.py`.
    """

    population: int = 20

    def __post_init__(self) -> None:
        check_range("population", self.population, 2, 100_000)

    def propose(self, state: SearchState, n: int, rng: np.random.Generator) -> Genomes:
        """See `Strategy`."""
        if not len(state):
            return _initial_design(state, max(n, self.population), rng)
        genomes, values = state.genomes[state.usable()], state.usable_values()
        problem = Problem(n_var=genomes.shape[1], n_obj=values.shape[1], xl=0, xu=1)
        pop = Population.new("X", genomes, "F", values, "place", np.arange(len(genomes)))
        survivors = RankAndCrowding().do(problem, pop, n_survive=self.population, random_state=rng).get("place").astype(int)
        ranks = np.arange(len(survivors))
        found = np.empty((0, genomes.shape[1]), np.int16)
        for _ in range(N_ATTEMPTS):
            drawn = draw_children(state.space, genomes[survivors], values[survivors], ranks, 4 * n, rng)
            found = state.open(np.concatenate([found, drawn]))
            if len(found) >= n:
                break
        return found[:n] if len(found) else random_networks(state, n, rng)


def _initial_design(state: SearchState, n: int, rng: np.random.Generator) -> Genomes:
    """Return the baselines and a balanced sample."""
    first = seeds(state)
    missing = max(n - len(first), 0)
    drawn = balanced_sample(state.space, missing, rng)
    if state.constraints:
        drawn = random_networks(state, missing, rng)
    return state.unmeasured(np.concatenate([first, drawn]))


def _one_choice_away(state: SearchState, genome: Genomes) -> Genomes:
    rows = []
    for gene, n_options in enumerate(state.space.cardinalities):
        for option in range(n_options):
            row = genome.copy()
            row[gene] = option
            rows.append(row)
    return np.array(rows, np.int16)
