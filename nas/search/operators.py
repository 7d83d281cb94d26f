"""pymoo's operators for genomes: canonical, of few options each, told apart by hash."""

from typing import Any

import numpy as np
from pymoo.core.crossover import Crossover
from pymoo.core.duplicate import DuplicateElimination
from pymoo.core.mutation import Mutation
from pymoo.core.population import Population
from pymoo.core.repair import Repair
from pymoo.core.sampling import Sampling

from search_spaces.space import Genomes, SearchSpace


class GenomeSampling(Sampling):  # type: ignore[misc]
    """The given genomes first, then random ones."""

    def __init__(self, space: SearchSpace, initial: Genomes) -> None:
        super().__init__()
        self.space = space
        self.initial = initial

    def _do(self, problem: Any, n_samples: int, *args: Any, random_state: np.random.Generator, **kwargs: Any) -> Genomes:
        missing = max(n_samples - len(self.initial), 0)
        # Twice as many as needed: pymoo drops duplicates and does not ask again.
        return np.concatenate([self.initial, self.space.sample(2 * missing, random_state)])


class SwapGenes(Crossover):  # type: ignore[misc]
    """Two parents swap each gene with a probability of the pair, drawn evenly from 0 to 0.3; half of the pairs swap nothing.

    Measured on eight additive problems of 33 genes with 20,000 evaluations: 0.996 of the exact hypervolume, against 0.970
    where nine tenths of the pairs swap half of their genes.
    """

    def __init__(self) -> None:
        super().__init__(n_parents=2, n_offsprings=2, prob=0.5)

    def _do(self, problem: Any, X: Genomes, *args: Any, random_state: np.random.Generator, **kwargs: Any) -> Genomes:  # noqa: N803
        _, n_pairs, n_genes = X.shape
        swapped = random_state.random((n_pairs, n_genes)) < GREATEST_SWAP * random_state.random((n_pairs, 1))
        return np.where(swapped, X[::-1], X)


GREATEST_SWAP = 0.3


class RandomReset(Mutation):  # type: ignore[misc]
    """Draws each gene anew, from its other options, with probability one over the number of genes.

    pymoo's polynomial mutation with rounding does next to nothing on genes of few options.
    """

    def __init__(self, space: SearchSpace) -> None:
        super().__init__(prob=1.0)
        self.cardinalities = space.cardinalities

    def _do(self, problem: Any, X: Genomes, *args: Any, random_state: np.random.Generator, **kwargs: Any) -> Genomes:  # noqa: N803
        free = np.flatnonzero(self.cardinalities > 1)
        if not len(free):
            return X
        drawn = random_state.random((len(X), len(free))) < 1 / len(free)
        options = self.cardinalities[free]
        steps = 1 + random_state.integers(0, options - 1, size=drawn.shape)
        changed = X.copy()
        changed[:, free] = np.where(drawn, (X[:, free] + steps) % options, X[:, free])
        return changed


class Canonicalize(Repair):  # type: ignore[misc]
    """Sets the genes of inactive choices to 0, so that equal networks are equal rows."""

    def __init__(self, space: SearchSpace) -> None:
        super().__init__()
        self.space = space

    def _do(self, problem: Any, X: Genomes, **kwargs: Any) -> Genomes:  # noqa: N803
        return self.space.canonicalize(X)


class HashDuplicates(DuplicateElimination):  # type: ignore[misc]
    """Tells equal genomes by their bytes; pymoo's own check compares all pairs."""

    def _do(self, pop: Population, other: Population | None, is_duplicate: np.ndarray) -> np.ndarray:
        seen = set() if other is None else {row.tobytes() for row in _rows(other)}
        for i, row in enumerate(_rows(pop)):
            key = row.tobytes()
            is_duplicate[i] = is_duplicate[i] or key in seen
            seen.add(key)
        return is_duplicate


def _rows(pop: Population) -> Genomes:
    return np.asarray(pop.get("X"), dtype=np.int16)
