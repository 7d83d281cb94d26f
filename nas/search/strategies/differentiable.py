"""Gradients instead of an exact front: what differentiable search finds on the very same predictions."""

from dataclasses import dataclass

import numpy as np

from nas.search.evolution.variation import reset_genes
from nas.search.exact import exact_front
from nas.search.relaxation import relaxed_best
from nas.search.state import SearchState
from nas.search.strategies.exact import additive
from nas.search.strategies.predictor import Surrogate, initial_design, most_promising
from nas.search.strategies.strategy import STRATEGIES, random_networks
from predictors import Features, RidgePredictor, linear_table
from search_spaces.errors import InvalidInputError, check_whole
from search_spaces.space.space import Genomes


@STRATEGIES.register("differentiable")
@dataclass
class DifferentiableStrategy:
    """Ridge regressions of the measured objectives; for each of some budgets the network that gradients find within it.

    On the same predictions `exact` finds every optimum at once, and in less time; this one is here to be held against it,
    see experiments/results/signals.md. Budgets are of the first cheap objective; others count when candidates are chosen.

    Attributes:
        budgets: Budgets of the first cheap objective that are solved for, between its least and greatest value.
    """

    budgets: int = 8

    def __post_init__(self) -> None:
        check_whole("budgets", self.budgets, 1, 1_000)

    def propose(self, state: SearchState, n: int, rng: np.random.Generator) -> Genomes:
        """See `Strategy`.

        Raises:
            InvalidInputError: If there is no cheap objective, one is no sum of tables, or a constraint is no upper limit.
        """
        tables = additive(state.cheap, state.constraints)
        if not tables:
            raise InvalidInputError("strategy 'differentiable' needs a cheap objective, whose budget gradients keep")
        if not len(state):
            return initial_design(state, n, rng)
        features, cost = Features(state.space, sees_cell=False), next(iter(tables.values()))
        least, greatest = (exact_front(state.space, {"cost": table}).values[0, 0] for table in (cost, -cost))
        surrogates, found = {}, []
        for name in state.expensive:
            ridge = RidgePredictor()
            surrogates[name] = Surrogate(features, ridge, state, name)
            predicted = linear_table(features, ridge)
            budgets = np.linspace(least, -greatest, self.budgets + 1)[1:]
            found += [relaxed_best(state.space, predicted, cost, budget) for budget in budgets]
        best = np.array([genome for genome in found if genome is not None], np.int16).reshape(-1, len(state.space.choices))
        near = state.space.canonicalize(reset_genes(state.space, best, rng)) if len(best) else best
        candidates = state.open(np.concatenate([best, near]))
        if not len(candidates):
            return random_networks(state, n, rng)
        return candidates[most_promising(state, surrogates, candidates, n)]
