"""Features: what predictors see of networks, one row of numbers each, and which of the columns belong together."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from predictors.features.encoding import column_groups, encode, option_features
from predictors.features.topology import CellCounts, PairCounts
from search_spaces.costs import FactorTable
from search_spaces.errors import InvalidInputError, users_code
from search_spaces.space.factor import Factor
from search_spaces.space.space import Genomes, SearchSpace

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Signal:
    """Something that is cheaper than to measure a network, and says something of what would be measured.

    It is no objective: only predictors see it, which learn how much it says.

    Attributes:
        name: For people.
        values: From canonical genomes `(n, n_genes)` to values `(n,)`, or `(n, n_columns)`.
        slope: By how much the prediction is expected to grow with it: 1 for an estimate of the very quantity on the
            predictor's scale, 0 where nothing is known.
        is_free: True if it costs no more than a prediction; otherwise it is asked for of few networks.
        n_columns: Numbers that it gives of a network.
    """

    name: str
    values: Callable[[Genomes], Floats]
    slope: float = 0.0
    is_free: bool = True
    n_columns: int = 1

    def __post_init__(self) -> None:
        if self.slope == 1 and self.n_columns > 1:
            raise InvalidInputError(f"the signal '{self.name}' of {self.n_columns} columns cannot estimate one quantity")

    def __call__(self, genomes: Genomes) -> Floats:
        """Return what it says of genomes as columns, shape `(n, n_columns)`.

        Raises:
            InvalidInputError: If that is something else.
        """
        with users_code(f"the signal '{self.name}' fails on genomes, shape (n, genes)"):
            values = np.asarray(self.values(genomes.astype(np.int64)), dtype=np.float64)
        if values.shape not in ((len(genomes), self.n_columns), (len(genomes),) if self.n_columns == 1 else ()):
            raise InvalidInputError(
                f"the signal '{self.name}' must give {self.n_columns} numbers for each of {len(genomes)} genomes, got shape "
                f"{values.shape}"
            )
        return values.reshape(len(genomes), self.n_columns)


@dataclass(frozen=True, eq=False)
class Features:
    """Genomes to what predictors see of them: the options, their counts, what stands next to what, and signals.

    Attributes:
        space: The space; of one with a cell what stands next to what in it is counted.
        traits: Names of registered traits, see `predictors.features.topology.TRAITS`: pairs of neighbouring blocks that
            differ in them are counted.
        signals: The last columns.
        sees_cell: Whether a cell is looked at: what stands next to what says what a network learns, but hardly what it
            costs, which is a sum over its operators.
    """

    space: SearchSpace
    traits: tuple[str, ...] = ()
    signals: tuple[Signal, ...] = ()
    sees_cell: bool = True

    def __call__(self, genomes: Genomes) -> Floats:
        """Return the features of canonical genomes of shape `(n, n_genes)`; shape `(n, n_features)`."""
        blocks = [encode(self.space, genomes)]
        blocks += [self._cell(genomes)] if self._cell else []
        blocks += [pairs(genomes) for pairs in self.pairs]
        return np.column_stack([*blocks, *(_finite(signal, genomes) for signal in self.signals)])

    def __len__(self) -> int:
        return self.n_encoded + self.n_topology + sum(signal.n_columns for signal in self.signals)

    def with_signals(self, signals: tuple[Signal, ...]) -> "Features":
        """Return the same with other signals."""
        found = replace(self, signals=signals)
        found.__dict__.update({name: self.__dict__[name] for name in ("_cell", "pairs") if name in self.__dict__})
        return found

    @cached_property
    def _cell(self) -> CellCounts | None:
        return CellCounts(self.space) if self.space.cell and self.sees_cell else None

    @cached_property
    def pairs(self) -> tuple[PairCounts, ...]:
        """The counts of pairs, one for each trait."""
        return tuple(PairCounts(self.space, trait) for trait in self.traits)

    @property
    def n_encoded(self) -> int:
        """Number of the columns that `encode` gives, the first ones."""
        return int(option_features(self.space).shape[1])

    @property
    def n_counts(self) -> int:
        """Number of the columns at the end of the encoded ones that count options over alike choices."""
        return int((column_groups(self.space) >= len(self.space.choices)).sum())

    @property
    def n_topology(self) -> int:
        """Number of the columns after the encoded ones that count what stands next to what."""
        return (len(self._cell.names) if self._cell else 0) + sum(len(pairs.kinds) for pairs in self.pairs)

    @property
    def groups(self) -> NDArray[np.int64]:
        """For each column but the signals which it belongs with: a choice, itself, a round, or a trait of pairs."""
        groups = column_groups(self.space)
        topology = [] if self._cell is None else [self._cell.rounds]
        topology += [np.full(len(pairs.kinds), 2 + i) for i, pairs in enumerate(self.pairs)]
        return np.concatenate([groups, *(int(groups.max()) + 1 + rounds for rounds in topology)])

    def table(self, coefficients: Floats, constant: float) -> FactorTable:
        """Return a line over the features as a sum of small tables over genes.

        Args:
            coefficients: Of the columns, shape `(n_features,)`.
            constant: Added.

        Raises:
            InvalidInputError: If the coefficients are of other features, or a feature is no sum of small tables.
        """
        if self._cell is not None:
            raise InvalidInputError(f"what is counted in the cell of space '{self.space.name}' is no sum of small tables")
        if len(coefficients) != len(self):
            raise InvalidInputError(
                f"{len(self)} features of space '{self.space.name}' need as many coefficients, got {len(coefficients)}"
            )
        encoded = option_features(self.space) @ coefficients[: self.n_encoded]
        values = np.split(encoded, np.cumsum(self.space.cardinalities)[:-1])
        factors = [_where_it_matters(self.space, gene, value) for gene, value in enumerate(values)]
        start = self.n_encoded
        for pairs in self.pairs:
            factors += pairs.factors(coefficients[start : start + len(pairs.kinds)])
            start += len(pairs.kinds)
        for signal, coefficient in zip(self.signals, coefficients[start:], strict=False):
            if not isinstance(signal.values, FactorTable) or signal.values.takes_max or signal.n_columns > 1:
                raise InvalidInputError(f"the signal '{signal.name}' is no sum of small tables")
            factors += [Factor(factor.genes, coefficient * factor.values) for factor in signal.values.factors]
            constant += coefficient * signal.values.constant
        return FactorTable(tuple(factors), constant)


def _finite(signal: Signal, genomes: Genomes) -> Floats:
    values = signal(genomes)
    if not np.isfinite(values).all():
        raise InvalidInputError(f"the signal '{signal.name}' gave a number that is not finite")
    return values


def _where_it_matters(space: SearchSpace, gene: int, values: Floats) -> Factor:
    name = space.choices[gene].name
    if name not in space.conditions:
        return Factor((gene,), values)
    parent, active_for = space.activation(name)
    table = np.outer(active_for, values)
    return Factor((parent, gene), table) if parent < gene else Factor((gene, parent), table.T)
