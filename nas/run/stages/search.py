"""A search without the error as an objective: nothing is predicted, so nothing has to be measured on the way."""

from collections.abc import Mapping

import numpy as np

from nas.search.evolution.evolve import Objective, evolve
from search_spaces.space.baselines import baselines
from search_spaces.space.space import Genomes, SearchSpace


def search_cheap(
    space: SearchSpace,
    cheap: Mapping[str, Objective],
    constraints: Mapping[str, Objective],
    n: int,
    rng: np.random.Generator,
) -> Genomes:
    """Return the networks of the front of cheap objectives, then the baselines; their error is measured to be told.

    Of a front with more than `n` networks as many are taken, evenly along its first objective.
    """
    genomes = evolve(space, cheap, constraints, population=100, generations=100, rng=rng).genomes
    n = min(len(genomes), n)
    genomes = genomes[np.linspace(0, len(genomes) - 1, n).round().astype(int)]
    return np.concatenate([genomes, np.array(list(baselines(space).values()))])
