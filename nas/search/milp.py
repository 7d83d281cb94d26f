"""best_within: the best network under any number of constraints, by integer programming; no front is made on the way."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from search_spaces.costs import FactorTable
from search_spaces.errors import InvalidInputError
from search_spaces.space.factor import Factor
from search_spaces.space.space import Genomes, SearchSpace


def best_within(
    space: SearchSpace, objective: FactorTable, constraints: Mapping[str, tuple[FactorTable, float]]
) -> Genomes | None:
    """Return the network with the least objective that keeps all upper bounds, or None if none keeps them.

    For two costs `exact_front` answers every budget at once; with several limits its sets grow, and this is quicker.

    Args:
        space: The space.
        objective: A sum of tables, minimised.
        constraints: By name a sum of tables and the greatest value that it may have.

    Returns:
        Canonical genome, shape `(n_genes,)`.

    Raises:
        InvalidInputError: If a table is a maximum, not a sum.

    Source:
        The local polytope of a factor graph: a variable for each option of a gene and each entry of a table, whose marginals
        agree; solved by HiGHS through `scipy.optimize.milp`.
    """
    tables = {"the objective": objective, **{name: table for name, (table, _) in constraints.items()}}
    if takes_max := [name for name, table in tables.items() if table.takes_max]:
        raise InvalidInputError(f"a budget needs sums, but {takes_max} are maxima")
    starts = np.concatenate([[0], np.cumsum(space.cardinalities)])
    scopes = sorted({factor.genes for table in tables.values() for factor in table.factors if len(factor.genes) > 1})
    entry_starts: dict[tuple[int, ...], int] = {}
    n = int(starts[-1])
    for genes in scopes:
        entry_starts[genes] = n
        n += int(np.prod(space.cardinalities[list(genes)]))
    rows, lower, upper = _structure(space, starts, scopes, entry_starts)
    for table, bound in constraints.values():
        costs, constant = _costs(table, n, starts, entry_starts)
        span = float(np.abs(costs).max()) or 1.0
        rows.append(dict(enumerate(costs / span)))
        lower.append(-np.inf)
        upper.append((bound - constant) / span)
    entries = [(i, column, value) for i, row in enumerate(rows) for column, value in row.items() if value]
    at_row, at_column, values = zip(*entries, strict=True)
    matrix = csr_array((values, (at_row, at_column)), shape=(len(rows), n))
    integral = np.zeros(n)
    integral[: starts[-1]] = 1  # entries of tables follow from the options
    costs, _ = _costs(objective, n, starts, entry_starts)
    costs = costs / (np.abs(costs).max() or 1.0)  # tolerances of the solver are absolute
    constraint = LinearConstraint(matrix, lower, upper)
    found = milp(costs, integrality=integral, bounds=Bounds(0, 1), constraints=constraint, options={"mip_rel_gap": 1e-9})
    if found.x is None:
        return None
    chosen = [int(np.argmax(found.x[a:b])) for a, b in itertools.pairwise(starts)]
    genome: Genomes = space.canonicalize(np.array([chosen]))[0]
    return genome


def _structure(
    space: SearchSpace,
    starts: NDArray[np.int64],
    scopes: Sequence[tuple[int, ...]],
    entry_starts: Mapping[tuple[int, ...], int],
) -> tuple[list[dict[int, float]], list[float], list[float]]:
    """Return rows that make every solution a network: one option a gene, entries that agree, inactive genes at 0."""
    rows = [dict.fromkeys(range(int(a), int(b)), 1.0) for a, b in itertools.pairwise(starts)]
    lower, upper = [1.0] * len(rows), [1.0] * len(rows)
    for genes in scopes:
        shape = tuple(int(space.cardinalities[gene]) for gene in genes)
        entries = entry_starts[genes] + np.arange(np.prod(shape)).reshape(shape)
        for axis, gene in enumerate(genes):
            for index in range(shape[axis]):
                row = dict.fromkeys(entries.take(index, axis=axis).ravel().tolist(), 1.0)
                rows.append({**row, int(starts[gene]) + index: -1.0})
                lower.append(0.0)
                upper.append(0.0)
    for name in space.conditions:
        parent, active_for = space.activation(name)
        child = space.gene[name]
        for option in np.flatnonzero(~active_for):
            others = range(int(starts[child]) + 1, int(starts[child + 1]))
            rows.append({**dict.fromkeys(others, 1.0), int(starts[parent] + option): 1.0})
            lower.append(0.0)
            upper.append(1.0)
    return rows, lower, upper


def _costs(
    table: FactorTable, n: int, starts: NDArray[np.int64], entry_starts: Mapping[tuple[int, ...], int]
) -> tuple[NDArray[np.float64], float]:
    """Return the cost of each variable, shape `(n,)`, and what is added to their sum."""
    costs, constant = np.zeros(n), table.constant
    for factor in table.factors:
        start = _start(factor, starts, entry_starts)
        if start is None:
            constant += float(factor.values)
        else:
            costs[start : start + factor.values.size] += factor.values.ravel()
    return costs, constant


def _start(factor: Factor, starts: NDArray[np.int64], entry_starts: Mapping[tuple[int, ...], int]) -> int | None:
    if not factor.genes:
        return None
    return int(starts[factor.genes[0]]) if len(factor.genes) == 1 else entry_starts[factor.genes]
