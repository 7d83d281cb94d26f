"""Genomes to the numbers that predictors see: one column for every option of every choice, zero where it does not matter."""

import numpy as np
from numpy.typing import NDArray

from search_spaces.space import Genomes, SearchSpace


def encode(space: SearchSpace, genomes: Genomes) -> NDArray[np.float64]:
    """Return masked one-hot columns and, for each choice, the place of its option between 0 and 1.

    Args:
        space: Says which choices matter.
        genomes: Canonical, shape `(n, n_genes)`.

    Returns:
        Shape `(n, n_features)`; all columns of an inactive choice are 0.
    """
    mask = space.mask(genomes)
    columns = []
    for gene, choice in enumerate(space.choices):
        active = mask[:, gene]
        columns.append((genomes[:, gene, None] == np.arange(len(choice.options))) & active[:, None])
        if len(choice.options) > 1:
            columns.append((genomes[:, gene] / (len(choice.options) - 1) * active)[:, None])
    return np.concatenate(columns, axis=1).astype(np.float64)
