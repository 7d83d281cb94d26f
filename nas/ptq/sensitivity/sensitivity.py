"""The interface of a sensitivity."""

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nas.data.samples import Arrays, Samples
from nas.ptq.bank import Bank
from search_spaces.costs import FactorTable
from search_spaces.graph.graph import Graph
from search_spaces.importing.space import Adopted
from search_spaces.registry import Registry
from search_spaces.space.factor import Factor
from search_spaces.space.space import Genomes, SearchSpace

Losses = dict[str, float]
"""Divergence by the id of a network of which one group has another format than float32, all others float32."""


class Network(Protocol):
    """A trained network as it is evaluated, see `nas.objectives.adopted_evaluator`.

    Attributes:
        adopted: The network.
        bank: Its layers in every format.
        samples: The user's.
        references: What the original gives, by part of the samples and output.
        kinds: How outputs are compared, by name.
        weights: Of outputs; none: as `steer` says.
        steer: `mean` or `worst`.
        threads: That compute it.
    """

    adopted: Adopted
    bank: Bank
    samples: Samples
    references: Mapping[str, Arrays]
    kinds: Mapping[str, str]
    weights: Mapping[str, float]
    steer: str
    threads: int

    def values(self, graph: Graph, part: str) -> dict[str, float]:
        """Return every metric of a mixture on a part of the samples."""


class Sensitivity(Protocol):
    """Says what single groups lose. A new one is a file with a function of these arguments, registered under its name."""

    def __call__(self, network: Network, known: Losses, keep: Callable[[str, float], None]) -> Losses:
        """Return what each network of `singles` loses, and the one that they start from, whose genes are all 0.

        Args:
            network: With samples, and what measures any mixture.
            known: What was found before.
            keep: Takes each result as soon as it is there.
        """


SENSITIVITIES: Registry[Sensitivity] = Registry("sensitivity")


def singles(space: SearchSpace) -> list[tuple[int, int, Genomes]]:
    """Return gene, option and genome of every network of which one group has another than its first format."""
    found = []
    for gene, choice in enumerate(space.choices):
        for option in range(1, len(choice.options)):
            genome = np.zeros(len(space.choices), np.int16)
            genome[gene] = option
            found.append((gene, option, genome))
    return found


def table_of(space: SearchSpace, losses: Losses) -> FactorTable:
    """Return the table that adds up what single groups lose."""
    start = losses[space.subnet(np.zeros(len(space.choices), np.int16)).id]
    values = [np.zeros(len(choice.options)) for choice in space.choices]
    for gene, option, genome in singles(space):
        values[gene][option] = losses[space.subnet(genome).id] - start
    return FactorTable(tuple(Factor((gene,), each) for gene, each in enumerate(values)), start)


def corrected(table: FactorTable, genomes: Genomes, measured: NDArray[np.float64]) -> FactorTable:
    """Return the table with each gene's losses scaled so that sums fit measured mixtures, by ridge towards no change.

    Least squares of the relative error; a gene counts at least a fifth and at most five times.

    Args:
        table: Of single groups.
        genomes: Mixtures, shape `(n, n_genes)`.
        measured: Their divergence, shape `(n,)`.
    """
    from scipy.optimize import lsq_linear

    parts = np.column_stack([factor(genomes) for factor in table.factors])
    usable = measured > table.constant + 1e-9
    if usable.sum() < MIN_MEASURED:
        return table
    rows = parts[usable] / measured[usable, None]
    target = (measured[usable] - table.constant) / measured[usable] - rows.sum(axis=1)
    overall = float(target.sum() / max(rows.sum(), 1e-12))  # what all have in common is not drawn to nothing
    ridge = np.sqrt(RIDGE) * np.eye(len(table.factors))
    stacked = np.vstack([rows, ridge])
    change = lsq_linear(
        stacked, np.concatenate([target, np.sqrt(RIDGE) * np.full(len(ridge), overall)]), bounds=(-0.8, 4.0)
    ).x
    factors = zip(table.factors, change, strict=True)
    return FactorTable(tuple(Factor(f.genes, f.values * (1 + c)) for f, c in factors), table.constant)


MIN_MEASURED = 4
RIDGE = 0.1
