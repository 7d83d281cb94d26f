"""Contract of an exact objective."""

import numpy as np

from nas.objectives.objective import OBJECTIVES
from nas.tasks.metric import METRICS
from search_spaces.costs import FactorTable
from search_spaces.space.space import SearchSpace


def check_objective(name: str, space: SearchSpace) -> None:
    """Check a registered objective: a number for each network, one by one as together; and whether it is declared.

    Args:
        name: Under which it is registered.
        space: Its networks are priced.
    """
    function, genomes = OBJECTIVES.get(name)(space), space.sample(8, np.random.default_rng(0))
    together = function(genomes)
    assert together.shape == (8,), f"it gives shape {together.shape} for 8 networks"
    assert np.isfinite(together).all()
    assert np.array_equal(together, np.concatenate([function(genome[None]) for genome in genomes]))
    assert name in METRICS, "its metric is not declared"
    assert not (isinstance(function, FactorTable) and function.takes_max), "a maximum has no exact front"
