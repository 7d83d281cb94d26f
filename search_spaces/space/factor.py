"""Factor: a function of a few genes, written out as a small dense table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Factor:
    """A function of a few genes, tabulated.

    Attributes:
        genes: Positions of the genes that it reads, ascending.
        values: One axis for each gene, as long as the gene has options; numbers, or objects such as blocks.
    """

    genes: tuple[int, ...]
    values: NDArray[Any]

    def __call__(self, genomes: NDArray[np.int16]) -> NDArray[Any]:
        """Look up genomes of shape `(n, n_genes)`; shape `(n,)`."""
        return self.values[tuple(genomes[:, gene] for gene in self.genes)]

    def astype(self, dtype: type) -> "Factor":
        """Return the same with values of another type."""
        return Factor(self.genes, self.values.astype(dtype))

    def reduced(self) -> "Factor":
        """Return the same function without the genes that it does not depend on.

        Differs from the whole only in that a value is taken from option 0 of a gene left out.
        """
        genes, values = list(self.genes), self.values
        for axis in reversed(range(len(genes))):
            first = values.take([0], axis=axis)
            if np.all(values == first):
                values = first.squeeze(axis)  # not an element: that may be a tuple, which is no array
                del genes[axis]
        return Factor(tuple(genes), values)


def combine(function: Callable[..., Any], factors: Sequence[Factor]) -> Factor:
    """Return `function(*factors)` as a factor over all genes that any of them reads.

    Args:
        function: Called once for every combination of the genes, with one value of each factor.
        factors: At least one.
    """
    genes = tuple(sorted({gene for factor in factors for gene in factor.genes}))
    aligned = []
    for factor in factors:
        missing = [axis for axis, gene in enumerate(genes) if gene not in factor.genes]
        aligned.append(np.expand_dims(factor.values, missing) if missing else factor.values)
    values = np.empty(np.broadcast_shapes(*(table.shape for table in aligned)), dtype=object)
    values[...] = np.frompyfunc(function, len(factors), 1)(*aligned) if genes else None
    if not genes:
        values[()] = function(*(table.item() for table in aligned))
    return Factor(genes, values)


def any_of(factors: Sequence[Factor]) -> Factor:
    """Return whether any of some factors is true; of none: False."""
    never = Factor((), np.array(False, dtype=object))
    return reduce(lambda a, b: combine(lambda x, y: bool(x or y), [a, b]).reduced(), factors, never)
