"""Counts of what stands next to what: the features of the Weisfeiler-Lehman test after one round.

An operator's label is its name, and after one round its name with those of what it reads. Networks with the same counts are
alike to a predictor, however their genes differ. Of a cell the counts are no sum over its choices, since a cut edge takes
others with it; of a chain of blocks they are counts of pairs, hence sums of small tables.

Source: Ru et al. 2021, "Interpretable Neural Architecture Search via Bayesian Optimisation with Weisfeiler-Lehman Kernels"
(NAS-BOWL), arXiv:2006.07556. Differs: the counts stand beside the features of the genes, one length for each round.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from search_spaces.errors import InvalidInputError
from search_spaces.operators.conv import Conv, pair
from search_spaces.registry import Registry
from search_spaces.space.assembly import Block
from search_spaces.space.cell import Cell
from search_spaces.space.choice import Option
from search_spaces.space.factor import Factor
from search_spaces.space.space import Genomes, SearchSpace

Floats = NDArray[np.float64]

ENUMERABLE = (
    20_000  # genomes up to which all labels of a space are looked for; of a larger one, those of so many random ones
)
N_DRAWN = 5_000

TRAITS: Registry[Callable[[Block], str]] = Registry("trait of a block")
"""What is told apart of two neighbouring blocks: rich traits make many features and large tables."""


@TRAITS.register("format")
def format_trait(block: Block) -> str:
    """Return the number format of a block."""
    return block[0].precision.name


@TRAITS.register("kernel")
def kernel_trait(block: Block) -> str:
    """Return the greatest kernel of a block; 0 where it has none."""
    return str(max((max(pair(node.kernel)) for node in block if isinstance(node, Conv)), default=0))


def checked_traits(names: Sequence[str]) -> tuple[str, ...]:
    """Return names of traits.

    Raises:
        InvalidInputError: If they are no list of names, or one is unknown.
    """
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise InvalidInputError(f"traits must be a list, as [{', '.join(TRAITS)}], got {names!r}")
    for name in names:
        TRAITS.get(name)
    return tuple(names)


def cell_labels(cell: Cell, options: Mapping[str, Option]) -> Counter[tuple[int, str]]:
    """Return how often each label stands in a cell, after no round and after one, by `(round, label)`."""
    reads = cell.sources(options)
    names = {"input": "input", "output": "output"} | {name: str(options[name]) for name in reads if name != "output"}
    plain = Counter((0, names[name]) for name in reads if name != "output")
    told = Counter((1, f"{names[name]} < {' '.join(sorted(names[source] for source in reads[name]))}") for name in reads)
    return plain + told


class CellCounts:
    """Counts of the labels of a cell.

    Args:
        space: With a cell.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self._labels = lru_cache(maxsize=200_000)(self._labels_of)
        shape = tuple(space.cardinalities.tolist())
        self._is_small = bool(np.prod(space.cardinalities.astype(float)) <= ENUMERABLE)
        if self._is_small:
            genomes = np.indices(shape).reshape(len(shape), -1).T.astype(np.int16)
        else:
            genomes = space.sample(N_DRAWN, np.random.default_rng(0))
        found = {label for genome in genomes for label in self._labels(genome.tobytes())}
        self.names = tuple(sorted(found))
        self._table = self._count(genomes) if self._is_small else np.empty((0, len(self.names)))

    @property
    def rounds(self) -> NDArray[np.int64]:
        """After how many rounds each label is told, shape `(n_labels,)`."""
        return np.array([after for after, _ in self.names])

    def __call__(self, genomes: Genomes) -> Floats:
        """Return the counts, shape `(n, n_labels)`; a label that was not seen at the start is not counted."""
        if not self._is_small:
            return self._count(genomes)
        rows: Floats = self._table[np.ravel_multi_index(tuple(genomes.T), tuple(self.space.cardinalities.tolist()))]
        return rows

    def _count(self, genomes: Genomes) -> Floats:
        place = {label: i for i, label in enumerate(self.names)}
        counts = np.zeros((len(genomes), len(place)))
        for row, genome in zip(counts, genomes, strict=True):
            for label, n in self._labels(genome.astype(np.int16).tobytes()).items():
                if label in place:
                    row[place[label]] = n
        return counts

    def _labels_of(self, genome: bytes) -> Counter[tuple[int, str]]:
        genes = np.frombuffer(genome, np.int16)
        options = {choice.name: choice.options[gene] for choice, gene in zip(self.space.choices, genes, strict=True)}
        assert self.space.cell is not None
        return cell_labels(self.space.cell, options)


@dataclass(frozen=True, eq=False)
class PairCounts:
    """Counts of pairs of neighbouring blocks by a trait, each over the root of the number of slots.

    Attributes:
        space: With slots.
        trait: Name of a registered one.
    """

    space: SearchSpace
    trait: str

    def __post_init__(self) -> None:
        if not self.space.slots:
            raise InvalidInputError(
                f"space '{self.space.name}' has no blocks whose pairs could be counted; leave `traits` out"
            )

    @cached_property
    def _pairs(self) -> tuple[Factor, ...]:
        trait = TRAITS.get(self.trait)
        return self.space.transitions(trait, lambda block, position: trait(block))

    @cached_property
    def kinds(self) -> tuple[tuple[str, str], ...]:
        """The pairs that there are, in a fixed order."""
        return tuple(sorted({pair for factor in self._pairs for pair in factor.values.flat if pair is not None}))

    @property
    def names(self) -> tuple[str, ...]:
        """The pairs in words."""
        return tuple(f"{self.trait} {before} then {behind}" for before, behind in self.kinds)

    @cached_property
    def _places(self) -> tuple[Factor, ...]:
        """For every two slots the place of their pair among the kinds; one past the end where there is none."""
        place = {pair: i for i, pair in enumerate(self.kinds)}
        found = []
        for factor in self._pairs:
            places = np.array([place.get(pair, len(place)) for pair in factor.values.flat], dtype=np.int64)
            found.append(Factor(factor.genes, places.reshape(factor.values.shape)))
        return tuple(found)

    def __call__(self, genomes: Genomes) -> Floats:
        """Return the counts, shape `(n, n_kinds)`."""
        counts = np.zeros((len(genomes), len(self.kinds) + 1))
        for factor in self._places:
            np.add.at(counts, (np.arange(len(genomes)), factor(genomes)), 1)
        scaled: Floats = counts[:, :-1] / np.sqrt(len(self.space.slots))
        return scaled

    def factors(self, coefficients: Floats) -> tuple[Factor, ...]:
        """Return what the counts add to a line with these coefficients, shape `(n_kinds,)`, as small tables."""
        prices = np.append(coefficients, 0.0) / np.sqrt(len(self.space.slots))
        return tuple(Factor(factor.genes, prices[factor.values]).reduced() for factor in self._places)
