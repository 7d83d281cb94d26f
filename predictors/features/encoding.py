"""Genomes to the numbers that predictors see.

A column for every option of every choice; for a choice of numbers its place in the row of options; and for choices that are
alike, such as the kernels of all blocks, how many of them have each option: what one block teaches holds for the others too.
"""

import re
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from search_spaces.space.choice import Choice
from search_spaces.space.space import Genomes, SearchSpace

_FEATURES: WeakKeyDictionary[SearchSpace, csr_array] = WeakKeyDictionary()


def encode(space: SearchSpace, genomes: Genomes) -> NDArray[np.float64]:
    """Return what predictors see of networks.

    Args:
        space: Says which choices matter.
        genomes: Canonical, shape `(n, n_genes)`.

    Returns:
        Shape `(n, n_features)`; an inactive choice adds nothing to any column.
    """
    rows, genes = np.nonzero(space.mask(genomes))
    starts = np.cumsum(space.cardinalities) - space.cardinalities
    columns = starts[genes] + genomes[rows, genes]
    chosen = csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(genomes), int(space.cardinalities.sum())))
    encoded: NDArray[np.float64] = (chosen @ option_features(space)).toarray()
    return encoded


def option_features(space: SearchSpace) -> csr_array:
    """Return what each option of each choice, one below the other, adds to the features; shape `(n_options, n_features)`."""
    if space not in _FEATURES:
        _FEATURES[space] = _option_features(space)
    return _FEATURES[space]


def _option_features(space: SearchSpace) -> csr_array:
    rows: list[NDArray[np.int64]] = []
    columns: list[NDArray[np.int64]] = []
    values: list[NDArray[np.float64]] = []
    alike: dict[tuple[object, ...], list[int]] = {}
    row = column = 0
    for choice in space.choices:
        n = len(choice.options)
        alike.setdefault(_kind(choice), []).append(row)
        positions = np.arange(n)
        rows.append(row + positions)
        columns.append(column + positions)
        values.append(np.ones(n))
        column += n
        if _has_order(choice):
            rows.append(row + positions)
            columns.append(np.full(n, column))
            values.append(np.linspace(0, 1, n))
            column += 1
        row += n
    for (_, *options), starts in alike.items():
        if len(starts) > 1:
            positions = np.arange(len(options))
            for start in starts:
                rows.append(start + positions)
                columns.append(column + positions)
                values.append(np.full(len(options), 1 / np.sqrt(len(starts))))
            column += len(options)
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return csr_array(entries, shape=(row, column))


def column_groups(space: SearchSpace) -> NDArray[np.int64]:
    """Return for each feature which it belongs with: the features of one choice together, each count by itself.

    Returns:
        Shape `(n_features,)`: the choice's place, or a number from the number of choices on.
    """
    groups = [gene for gene, choice in enumerate(space.choices) for _ in range(len(choice.options) + _has_order(choice))]
    n_counts = option_features(space).shape[1] - len(groups)
    return np.array([*groups, *range(len(space.choices), len(space.choices) + n_counts)])


def _has_order(choice: Choice) -> bool:
    return len(choice.options) > 1 and all(isinstance(option, int | float) for option in choice.options)


def _kind(choice: Choice) -> tuple[object, ...]:
    """Return what alike choices share: the name without its numbers, and the options."""
    return (re.sub(r"\d+", "", choice.name), *choice.options)
