"""Linear predictions and their exact front: no evolution stands between a prediction and what is measured."""

from collections.abc import Mapping

import numpy as np

from nas.search.evolution.evolve import Limit, Objective
from nas.search.evolution.variation import reset_genes
from nas.search.exact import exact_front
from nas.search.state import Known
from nas.search.strategies.predictor import Learned, first_networks, most_promising
from nas.search.strategies.strategy import STRATEGIES, random_networks
from predictors import RidgePredictor, encode, linear_table
from search_spaces.costs import FactorTable
from search_spaces.errors import InvalidInput
from search_spaces.space.space import Genomes

TOLERANCE = 0.02  # of each objective's range, with three objectives and more


@STRATEGIES.register("exact")
class ExactStrategy:
    """Ridge regressions of the measured objectives, and the exact front of these and the cheap ones."""

    def propose(self, known: Known, n: int, rng: np.random.Generator) -> Genomes:
        """See `Strategy`.

        Raises:
            InvalidInput: If a cheap objective is no sum of tables, or a constraint is no upper limit on one.
        """
        tables = additive(known.cheap, known.constraints)
        if not len(known):
            return first_networks(known, n, rng)
        features = encode(known.space, known.genomes)
        learned = {}
        for name, y in known.expensive.items():
            ridge = RidgePredictor()
            learned[name] = Learned(known.space, ridge, features, y)
            tables = {name: linear_table(known.space, ridge), **tables}
        front = exact_front(known.space, tables, tolerance=TOLERANCE if len(tables) > 2 else 0.0)
        near = known.space.canonicalize(reset_genes(known.space, front.genomes, rng))
        candidates = known.open(np.concatenate([front.genomes, near]))
        if not len(candidates):
            return random_networks(known, n, rng)
        return candidates[most_promising(known, learned, candidates, n)]


def additive(cheap: Mapping[str, Objective], constraints: Mapping[str, Objective]) -> dict[str, FactorTable]:
    """Return the tables of cheap objectives and of what is limited from above.

    A front of all of them holds, within the limits, every network that a front of the objectives alone would hold.

    Raises:
        InvalidInput: If one is no sum of tables, or a limit is none from above.
    """
    tables: dict[str, FactorTable] = {}
    for name, objective in cheap.items():
        if not isinstance(objective, FactorTable) or objective.largest:
            raise InvalidInput(f"strategy 'exact' needs cheap objectives that are sums of tables; '{name}' is none")
        tables[name] = objective
    for name, limit in constraints.items():
        if not isinstance(limit, Limit) or limit.sign < 0 or not isinstance(limit.function, FactorTable):
            raise InvalidInput(f"strategy 'exact' takes upper limits on sums of tables only; '{name}' is none")
        if not any(limit.function is table for table in tables.values()):
            tables[f"limit of {name}"] = limit.function
    return tables
