"""exact_front: the true Pareto front of additive objectives, by dynamic programming over the genes.

Objectives are sums of small tables over genes. Genes are eliminated one after another: the tables that read a gene become
one table over the other genes they read, and each of its entries holds not a number but the Pareto set of what the
eliminated genes can add up to. A point that is beaten inside an entry is beaten in every network it is part of, so nothing
of the front is lost. Slots read few genes and take from few others, so few genes stand in one table at a time; where that is
not so, the size of the largest table is known before anything is computed.

Source: bucket elimination with Pareto sets, Rollon and Larrosa 2006 (Journal of Heuristics 12:307).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.search.pareto import Front, non_dominated
from search_spaces.costs import FactorTable
from search_spaces.errors import InvalidInputError
from search_spaces.space.factor import Factor
from search_spaces.space.space import Genomes, SearchSpace

Floats = NDArray[np.float64]
MAX_ENTRIES = 1_000_000  # of one table, each a set of points; measured: some ten microseconds an entry and option


class TooLargeError(InvalidInputError):
    """The choices of a space are so entangled that an exact front needs tables that are too large."""


@dataclass(frozen=True)
class _Set:
    """A Pareto set: what some genes can add up to.

    Attributes:
        points: Shape `(n, m)`.
        genomes: The genes that give them, 0 where not yet eliminated, shape `(n, n_genes)`.
    """

    points: Floats
    genomes: Genomes


@dataclass(frozen=True)
class _Table:
    """A Pareto set (None: no choice is left) for every combination of a few genes."""

    genes: tuple[int, ...]
    sets: NDArray[np.object_]


def exact_front(
    space: SearchSpace, tables: Mapping[str, FactorTable], *, tolerance: float = 0.0, allowed: Sequence[Factor] = ()
) -> Front:
    """Return the true front of additive objectives; of networks with equal values one.

    Args:
        space: The space.
        tables: Objectives by name, minimised; sums, not maxima.
        tolerance: 0: exact, meant for two objectives. Above 0, for three and more: a network may be left out when the front
            holds one that is worse by at most this share of each objective's range over the space.
        allowed: Which combinations of genes networks may have, in factors of True and False; a gene that does not matter
            is 0.

    Returns:
        Networks in ascending order of the first objective; none where no network is allowed.

    Raises:
        InvalidInputError: If there is no objective, one is a maximum, or `tolerance` is negative.
        TooLargeError: If the tables would be too large.
    """
    if not tables:
        raise InvalidInputError("an exact front needs at least one objective, got none")
    if takes_max := [name for name, table in tables.items() if table.takes_max]:
        raise InvalidInputError(f"an exact front needs sums, but {takes_max} are maxima")
    if not 0 <= tolerance < 1:
        raise InvalidInputError(f"tolerance must be in 0..1, got {tolerance}")
    n_genes = len(space.choices)
    factors = [_vector_factor(factor, i, len(tables)) for i, t in enumerate(tables.values()) for factor in t.factors]
    # Each gene's elimination, each sum of two sets within one, and each sum at the end may lose the width of a box.
    boxes = tolerance * _ranges(factors) / (3 * n_genes) if tolerance else np.zeros(len(tables))
    factors += _inactive(space, len(tables))
    factors += [_forbidding(factor, len(tables)) for factor in allowed]
    order, largest = elimination_order(space, [factor.genes for factor in factors])
    if largest > MAX_ENTRIES:
        raise TooLargeError(
            f"an exact front of space '{space.name}' needs a table of {largest:,} entries, more than {MAX_ENTRIES:,}: "
            "too many choices meet in one place; search by evolution (`strategy: predictor`) instead"
        )
    sets: list[_Table] = []
    for gene in order:
        involved = [table for table in sets if gene in table.genes]
        eliminated = _eliminate(space, gene, [f for f in factors if gene in f.genes], involved, boxes)
        factors = [factor for factor in factors if gene not in factor.genes]
        sets = [table for table in sets if gene not in table.genes] + [eliminated]
    constant = np.array([table.constant for table in tables.values()])
    constant = constant + sum((factor.values for factor in factors), np.zeros(len(tables)))
    whole = _Set(constant[None], np.zeros((1, n_genes), np.int16))
    finished: list[_Set | None] = [table.sets.item() for table in sets]
    parts = [part for part in finished if part is not None]
    if len(parts) < len(finished):
        return Front(tuple(tables), np.zeros((0, n_genes), np.int16), np.zeros((0, len(tables))))
    for part in sorted(parts, key=lambda part: len(part.points)):
        whole = _prune(_add(whole, part), boxes)
    by_first = np.lexsort(whole.points.T[::-1])
    return Front(tuple(tables), whole.genomes[by_first], whole.points[by_first])


def elimination_order(space: SearchSpace, scopes: Sequence[Sequence[int]]) -> tuple[list[int], int]:
    """Return the genes in the order in which they are eliminated, and the entries of the largest table on the way.

    Args:
        space: The space.
        scopes: The genes that each table reads.

    Source:
        The gene of the smallest table first: min-weight ordering, Koller and Friedman 2009, section 9.4.3.2.
    """
    left, open_scopes, order, largest = set(range(len(space.choices))), [set(scope) for scope in scopes], [], 0
    while left:
        joined = {gene: {gene}.union(*(scope for scope in open_scopes if gene in scope)) for gene in left}
        gene = min(left, key=lambda g: (_size(space, joined[g]), g))
        largest = max(largest, _size(space, joined[gene]))
        open_scopes = [scope for scope in open_scopes if gene not in scope] + [joined[gene] - {gene}]
        order.append(gene)
        left.remove(gene)
    return order, largest


def _vector_factor(factor: Factor, objective: int, n_objectives: int) -> Factor:
    """Return a factor whose values have one more axis: all objectives, 0 but for one."""
    values = np.zeros((*factor.values.shape, n_objectives))
    values[..., objective] = factor.values
    return Factor(factor.genes, values)


def _inactive(space: SearchSpace, n_objectives: int) -> list[Factor]:
    """Return factors that forbid a gene other than 0 where its choice does not matter."""
    forbidding = []
    for name in space.conditions:
        child = space.gene[name]
        parent, active_for = space.activation(name)
        values = np.zeros((len(active_for), len(space.choices[child].options), n_objectives))
        values[~active_for, 1:] = np.inf
        if parent > child:
            values = values.swapaxes(0, 1)
        forbidding.append(Factor(tuple(sorted((child, parent))), values))
    return forbidding


def _forbidding(allowed: Factor, n_objectives: int) -> Factor:
    """Return a factor that forbids what is not allowed."""
    values = np.where(allowed.values.astype(bool), 0.0, np.inf)
    return Factor(allowed.genes, np.repeat(values[..., None], n_objectives, axis=-1))


def _ranges(factors: Sequence[Factor]) -> Floats:
    """Return how far the objectives reach at most, shape `(m,)`."""
    flat = [factor.values.reshape(-1, factor.values.shape[-1]) for factor in factors]
    reach: Floats = np.sum([values.max(axis=0) - values.min(axis=0) for values in flat], axis=0)
    return reach


def _size(space: SearchSpace, genes: set[int]) -> int:
    return math.prod(int(space.cardinalities[gene]) for gene in genes)


def _eliminate(space: SearchSpace, gene: int, factors: Sequence[Factor], tables: Sequence[_Table], boxes: Floats) -> _Table:
    """Return the table over the other genes that is left when `gene` is chosen."""
    read = [factor.genes for factor in factors] + [table.genes for table in tables]
    genes = tuple(sorted({g for scope in read for g in scope} | {gene}))
    shape = tuple(int(space.cardinalities[g]) for g in genes)
    dense = np.zeros((*shape, len(boxes)))
    for factor in factors:
        missing = [axis for axis, g in enumerate(genes) if g not in factor.genes]
        dense += np.expand_dims(factor.values, missing)
    axis_of_gene = genes.index(gene)
    rest = genes[:axis_of_gene] + genes[axis_of_gene + 1 :]
    dense = np.moveaxis(dense, axis_of_gene, -2)
    options = np.zeros((shape[axis_of_gene], len(space.choices)), np.int16)
    options[:, gene] = np.arange(shape[axis_of_gene])
    sets = np.empty(dense.shape[:-2], dtype=object)
    for index in np.ndindex(sets.shape):
        chosen = dict(zip(rest, index, strict=True))
        found = []
        for option, shift in enumerate(dense[index]):
            chosen[gene] = option
            parts = [table.sets[tuple(chosen[g] for g in table.genes)] for table in tables]
            if np.isfinite(shift).all() and all(part is not None for part in parts):
                start = _Set(shift[None], options[option : option + 1])
                found.append(_sum([start, *parts], boxes))
        if found:
            points = np.concatenate([part.points for part in found])
            sets[index] = _prune(_Set(points, np.concatenate([part.genomes for part in found])), boxes)
    return _Table(rest, sets)


def _sum(parts: Sequence[_Set], boxes: Floats) -> _Set:
    """Return the Pareto set of all sums, one point of each part."""
    total, *others = sorted(parts, key=lambda part: len(part.points))
    for i, part in enumerate(others):
        single = len(total.points) == 1
        total = _add(total, part)
        if not single and i < len(others) - 1:
            total = _prune(total, boxes)
    return total


def _add(a: _Set, b: _Set) -> _Set:
    points = (a.points[:, None] + b.points[None]).reshape(-1, a.points.shape[1])
    genomes = (a.genomes[:, None] + b.genomes[None]).reshape(-1, a.genomes.shape[1])
    return _Set(points, genomes)


def _prune(whole: _Set, boxes: Floats) -> _Set:
    """Keep what no other point beats or equals; with boxes above 0 only one point of each box that no other box beats."""
    points = whole.points
    if len(points) < 2:
        return whole
    order = np.lexsort(points.T[::-1])
    points = points[order]
    if points.shape[1] <= 2:
        last = points[:, -1]
        lowest = np.minimum.accumulate(last)
        kept = np.concatenate([[True], last[1:] < lowest[:-1]])
        if points.shape[1] == 1:
            kept = np.arange(len(points)) == 0
    else:
        coarse = np.floor(points / boxes) if boxes.all() else points
        _, first = np.unique(coarse, axis=0, return_index=True)
        kept = np.zeros(len(points), dtype=bool)
        kept[first[non_dominated(coarse[first])]] = True
    return _Set(points[kept], whole.genomes[order[kept]])
