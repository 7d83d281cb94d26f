"""The measured front: of what a search has found, the networks that no other beats by measured values."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas.archive.archive import Archive
from nas.search.evolution.evolve import Objective
from nas.search.pareto import columns, layers, non_dominated, tied
from search_spaces import InvalidInput, SearchSpace
from search_spaces.space.baselines import baselines
from search_spaces.space.space import Genomes

N_LAYERS = 2  # fronts by predicted latency whose networks are timed: a near miss may prove better than it was predicted


def measured_front(
    space: SearchSpace,
    errors: Archive,
    exact: Mapping[str, Objective],
    objectives: Sequence[str],
    upper: Mapping[str, float],
    lower: Mapping[str, float],
    *,
    noise: float = 0.0,
    measure_latency: Callable[[Genomes], dict[str, NDArray[np.float64]]],
    measure_test_error: Callable[[Genomes], NDArray[np.float64]],
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Time the networks near the front, then keep those that no other beats by measured values.

    Args:
        space: Their space.
        errors: Archive of the networks whose error was measured.
        exact: Costs by table; `latency_ms` among them is the prediction.
        objectives: Names of what is minimised, `error` or names of `exact`.
        upper: Upper bounds by name.
        lower: Lower bounds by name.
        noise: Points of error that mean nothing: column `tied` marks networks that another one would beat if errors moved by
            so much and latencies by their spread.
        measure_latency: From genomes `(n, g)` to columns of shape `(n,)`, `latency_ms` among them.
        measure_test_error: From genomes `(n, g)` to percent, shape `(n,)`.

    Returns:
        All timed networks, the front, and the baselines: a row for each network with id, numbers and choices.

    Raises:
        InvalidInput: If no measured network satisfies the constraints.
    """
    genomes = errors.genomes()
    known = {"error": errors.frame()["error"].to_numpy(), **{n: function(genomes) for n, function in exact.items()}}
    feasible = satisfies(known, upper, lower)
    near = np.flatnonzero(feasible)
    near = near[layers(columns({name: known[name][near] for name in objectives}), N_LAYERS)]
    seeds = rows_of_baselines(space, genomes)
    timed = np.unique([*near, *seeds.values()])
    networks = describe_networks(space, genomes[timed], known["error"][timed], measure_latency(genomes[timed]), exact)

    names = ["error_val" if name == "error" else name for name in objectives]
    kept = np.flatnonzero(feasible[timed] & satisfies(networks, upper, lower))
    if not len(kept):
        constraints = {**{f"max {n}": v for n, v in upper.items()}, **{f"min {n}": v for n, v in lower.items()}}
        raise InvalidInput(
            f"no measured network satisfies the constraints {constraints}; relax one or measure more networks"
        )
    values = networks.iloc[kept][names].to_numpy(float)
    best = kept[non_dominated(values)]
    margins = np.column_stack([_margin(networks.iloc[kept], name, noise) for name in names])
    networks.loc[kept, "tied"] = tied(values, values, margins)
    of_seed = [int(np.searchsorted(timed, row)) for row in seeds.values()]
    shown = np.unique([*best, *of_seed])
    networks.loc[shown, "error_test"] = measure_test_error(genomes[timed][shown])

    front = networks.iloc[best].sort_values([*names, "id"], ignore_index=True)
    front["tied"] = front["tied"].astype(bool)
    return networks, front, named(networks.drop(columns="tied"), dict(zip(seeds, of_seed, strict=True)))


def satisfies(
    values: Mapping[str, NDArray[np.float64]] | pd.DataFrame, upper: Mapping[str, float], lower: Mapping[str, float]
) -> NDArray[np.bool_]:
    """Return which networks satisfy upper and lower bounds, shape `(n,)`; `values` holds a column for every limit."""
    mask = np.ones(len(next(iter(values.values()))) if isinstance(values, Mapping) else len(values), dtype=bool)
    for name, limit in upper.items():
        mask &= np.asarray(values[name]) <= limit
    for name, limit in lower.items():
        mask &= np.asarray(values[name]) >= limit
    return mask


def _margin(networks: pd.DataFrame, name: str, noise: float) -> NDArray[np.float64]:
    """Return how far the values of each network may be off, shape `(n,)`."""
    if name == "error_val":
        return np.full(len(networks), noise)
    spread = name.replace("latency_ms", "latency_spread")
    if spread in networks and spread != name:
        return (networks[name] * networks[spread]).to_numpy(float)
    return np.zeros(len(networks))


def describe_networks(
    space: SearchSpace,
    genomes: Genomes,
    errors: NDArray[np.float64],
    measured: Mapping[str, NDArray[np.float64]],
    costs: Mapping[str, Objective],
) -> pd.DataFrame:
    """Return a row for each network: id, measured and predicted numbers, choices.

    Args:
        space: Their space.
        genomes: Shape `(n, g)`.
        errors: On the validation split, percent, shape `(n,)`.
        measured: Further columns, each `(n,)`; a test error among them or not.
        costs: By name; latencies are called `latency_ms_predicted` in the table.
    """
    subnets = space.subnets(genomes)
    frame = pd.DataFrame({"id": [a.id for a in subnets], "error_val": errors, "error_test": np.nan, **measured})
    for name, cost in costs.items():
        values = cost(genomes)
        frame[name.replace("latency_ms", "latency_ms_predicted")] = values.astype(int) if name in WHOLE_NUMBERS else values
    for choice in space.choices:
        frame[choice.name] = pd.Series([a.options.get(choice.name) for a in subnets], dtype=object)
    return frame


def rows_of_baselines(space: SearchSpace, genomes: Genomes) -> dict[str, int]:
    """Return which of the genomes are baselines, by name."""
    rows = {genome.tobytes(): i for i, genome in enumerate(genomes)}
    return {name: rows[g.tobytes()] for name, g in baselines(space).items() if g.tobytes() in rows}


def named(networks: pd.DataFrame, rows: Mapping[str, int]) -> pd.DataFrame:
    """Return some rows with what they are called, in a first column `baseline`."""
    chosen = networks.iloc[list(rows.values())].reset_index(drop=True)
    chosen.insert(0, "baseline", list(rows))
    return chosen


WHOLE_NUMBERS = ("size_bytes", "macs")
