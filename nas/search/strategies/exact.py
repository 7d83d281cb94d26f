"""Linear predictions and their exact front: no evolution stands between a prediction and what is measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from nas.objectives.objective import Objective
from nas.search.evolution.evolve import Bound
from nas.search.evolution.variation import reset_genes
from nas.search.exact import exact_front
from nas.search.state import SearchState
from nas.search.strategies.predictor import Surrogate, initial_design, most_promising
from nas.search.strategies.strategy import STRATEGIES, random_networks
from predictors import Features, RidgePredictor, linear_table
from predictors.features.topology import checked_traits
from search_spaces.costs import FactorTable
from search_spaces.errors import InvalidInputError
from search_spaces.space.factor import Factor
from search_spaces.space.space import Genomes

TOLERANCE = 0.02  # of each objective's range, with three objectives and more
MANY = 60  # choices, with which a front of three objectives takes minutes
THINNED = 300  # members of one of several fronts


@STRATEGIES.register("exact")
@dataclass
class ExactStrategy:
    """Ridge regressions of the measured objectives, and the exact front of these and the cheap ones.

    Attributes:
        traits: Traits of blocks whose pairs the ridges see, see `predictors.features.topology.TRAITS`.
    """

    traits: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.traits = checked_traits(self.traits)

    def propose(self, state: SearchState, n: int, rng: np.random.Generator) -> Genomes:
        """See `Strategy`.

        Raises:
            InvalidInputError: If a cheap objective is no sum of tables, or a constraint is no upper limit on one.
        """
        tables = additive(state.cheap, state.constraints)
        if not len(state):
            return initial_design(state, n, rng)
        features = Features(state.space, self.traits, sees_cell=False)
        surrogates = {}
        for name in state.expensive:
            ridge = RidgePredictor()
            surrogates[name] = Surrogate(features, ridge, state, name)
            tables = {name: linear_table(features, ridge), **tables}
        front = front_of(state, tables, interesting(state, surrogates))
        near = state.space.canonicalize(reset_genes(state.space, front, rng))
        candidates = state.open(np.concatenate([front, near]))
        if not len(candidates):
            return random_networks(state, n, rng)
        return candidates[most_promising(state, surrogates, candidates, n)]


def interesting(state: SearchState, surrogates: Mapping[str, Surrogate]) -> dict[str, float]:
    """Return up to where limited objectives are predicted to be of interest, on the scale of their predictions."""
    reach = {name: state.reach(name) for name in state.expensive}
    return {name: float(np.log(x + surrogates[name].scale.shift)) for name, x in reach.items() if np.isfinite(x)}


def front_of(state: SearchState, tables: Mapping[str, FactorTable], reach: Mapping[str, float] | None = None) -> Genomes:
    """Return what may still be measured of the exact front of tables, in ascending order of the first measured objective.

    Of many choices a front of three and more objectives holds too many networks: there it is a few hundred of the front of
    each measured objective with every other one, and with the sum of two and of all cheap ones, each over its range.

    Args:
        state: The search.
        tables: By objective, those of limits besides.
        reach: By measured objective what networks are not predicted to exceed, unless all do; None: anything.
    """
    bounds = [(tables[name], bound) for name, bound in (reach or {}).items()]

    def opened(front: Genomes) -> Genomes:
        left = state.open(front)
        within = np.all([table(left) <= bound for table, bound in bounds], axis=0) if bounds else np.ones(len(left), bool)
        return left[within] if within.any() else left

    measured = [tables[name] for name in tables if name in state.expensive_names]
    cheap = [table for name, table in tables.items() if name not in state.expensive_names]
    if len(tables) <= 2 or len(state.space.choices) <= MANY:
        tolerance = TOLERANCE if len(tables) > 2 else 0.0
        found = [opened(exact_front(state.space, tables, tolerance=tolerance).genomes)]
    else:
        sums = dict.fromkeys([*combinations(cheap, 1), *combinations(cheap, 2), tuple(cheap)]) if cheap else ()
        pairs = [*combinations(measured, 2), *((one, _sum_of(each)) for one in measured for each in sums)]
        fronts = (exact_front(state.space, {"one": one, "other": other}).genomes for one, other in pairs)
        found = [thinned(opened(front), THINNED) for front in fronts]
    genomes = np.unique(np.concatenate(found), axis=0)
    ordered: Genomes = genomes[np.argsort(measured[0](genomes), kind="stable")]
    return ordered


def _sum_of(tables: Sequence[FactorTable]) -> FactorTable:
    """Return the sum of tables, each over what its factors may differ by."""
    if len(tables) == 1:
        return tables[0]
    factors: list[Factor] = []
    for table in tables:
        span = sum(float(np.ptp(factor.values)) for factor in table.factors) or 1.0
        factors += [Factor(factor.genes, factor.values / span) for factor in table.factors]
    return FactorTable(tuple(factors))


def thinned(front: Genomes, n: int) -> Genomes:
    """Return up to n evenly taken members of a front."""
    taken: Genomes = front[np.unique(np.linspace(0, len(front) - 1, min(len(front), n)).round().astype(int))]
    return taken


def additive(cheap: Mapping[str, Objective], constraints: Mapping[str, Objective]) -> dict[str, FactorTable]:
    """Return the tables of cheap objectives and of what is limited from above.

    A front of all of them holds, within the bounds, every network that a front of the objectives alone would hold.

    Raises:
        InvalidInputError: If one is no sum of tables, or a limit is none from above.
    """
    tables: dict[str, FactorTable] = {}
    for name, objective in cheap.items():
        if not isinstance(objective, FactorTable) or objective.takes_max:
            raise InvalidInputError(f"this strategy needs cheap objectives that are sums of tables; '{name}' is none")
        tables[name] = objective
    for name, bound in constraints.items():
        if not isinstance(bound, Bound) or bound.sign < 0 or not isinstance(bound.function, FactorTable):
            raise InvalidInputError(f"this strategy takes upper bounds on sums of tables only; '{name}' is none")
        if not any(bound.function is table for table in tables.values()):
            tables[f"limit of {name}"] = bound.function
    return tables
