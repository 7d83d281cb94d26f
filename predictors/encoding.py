"""Genomes to the numbers that predictors see.

A column for every option of every choice; for a choice of numbers its place in the row of options; and for choices that are
alike, such as the kernels of all blocks, how many of them have each option: what one block teaches holds for the others too.
"""

import re

import numpy as np
from numpy.typing import NDArray

from search_spaces.choice import Choice
from search_spaces.space import Genomes, SearchSpace


def encode(space: SearchSpace, genomes: Genomes) -> NDArray[np.float64]:
    """Return what predictors see of networks.

    Args:
        space: Says which choices matter.
        genomes: Canonical, shape `(n, n_genes)`.

    Returns:
        Shape `(n, n_features)`; an inactive choice adds nothing to any column.
    """
    mask = space.mask(genomes)
    chosen = [
        (genomes[:, gene, None] == np.arange(n)) & mask[:, gene, None] for gene, n in enumerate(space.cardinalities.tolist())
    ]
    encoded: NDArray[np.float64] = np.concatenate(chosen, axis=1).astype(np.float64) @ option_features(space)
    return encoded


def option_features(space: SearchSpace) -> NDArray[np.float64]:
    """Return what each option of each choice, one below the other, adds to the features; shape `(n_options, n_features)`."""
    columns: list[NDArray[np.float64]] = []
    start, n_rows = 0, int(space.cardinalities.sum())
    alike: dict[tuple[object, ...], list[int]] = {}
    for choice in space.choices:
        n = len(choice.options)
        alike.setdefault(_kind(choice), []).append(start)
        block = np.zeros((n_rows, n + _has_order(choice)))
        block[start : start + n, :n] = np.eye(n)
        if _has_order(choice):
            block[start : start + n, n] = np.linspace(0, 1, n)
        columns.append(block)
        start += n
    for (_, *options), starts in alike.items():
        if len(starts) > 1:
            block = np.zeros((n_rows, len(options)))
            for begin in starts:
                block[begin : begin + len(options)] = np.eye(len(options)) / np.sqrt(len(starts))
            columns.append(block)
    return np.concatenate(columns, axis=1)


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
