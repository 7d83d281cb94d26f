"""optimize: the Pareto front of a space and evaluators of one's own, without a run folder."""

import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.archive.archive import Archive
from nas.archive.storage import sqlite_url
from nas.objectives.evaluator import Evaluator
from nas.objectives.objective import Objective
from nas.search.evolution.evolve import lower_bound, upper_bound
from nas.search.order import ByLoss
from nas.search.study import SearchResult, search
from nas.tasks.metric import Metric, declare, forget
from predictors import Signal
from search_spaces.costs import FactorTable
from search_spaces.errors import InvalidInputError, users_code
from search_spaces.space.space import Genomes, SearchSpace

Bounds = float | tuple[float | None, float | None]
"""An upper bound, or a lower and an upper one of which either may be None."""


def optimize(
    space: SearchSpace,
    evaluators: Evaluator | Sequence[Evaluator],
    constraints: Mapping[str, Bounds] | None = None,
    budget: int = 100,
    *,
    exact: Mapping[str, Objective] | None = None,
    strategy: str = "predictor",
    options: Mapping[str, Any] | None = None,
    noise: Mapping[str, float] | None = None,
    signals: Mapping[str, Sequence[Signal]] | None = None,
    workers: int = 1,
    storage: str | Path | None = None,
    seed: int = 0,
    progress: Callable[[int, int, str], None] = lambda done, total, note: None,
) -> SearchResult:
    """Find the Pareto front of what evaluators measure, and of exact objectives, with few measurements.

    Args:
        space: The space, such as a `TabularSpace`.
        evaluators: Measure subnets; the first metric of each is an objective, its others are recorded. Metrics are
            minimised, or maximised where their `direction` says so; by the `loss` of a metric, where that is measured too,
            networks are ranked in its place.
        constraints: Bounds on exact objectives by name: an upper one, or `(lower, upper)`.
        budget: Networks to measure, at least 4.
        exact: Objectives that are free and exact, such as factor tables, by name.
        strategy: Chooses what is measured; see `nas.search.strategies.STRATEGIES`.
        options: Of the strategy, by name.
        noise: By metric, a difference that means nothing; see `nas.search.search`.
        signals: By metric, what says something of it and costs less; only predictors see it.
        workers: Networks to measure at once, by joblib; evaluators must then be picklable.
        storage: SQLite file, or URL of a database, that keeps what was measured: a search that was stopped goes on.
        seed: Of everything random.
        progress: Called with measurements done, in all, and a text on the best so far.

    Returns:
        The front, every network of it measured, and everything that was measured.

    Raises:
        InvalidInputError: If a constraint is on no exact objective, two metrics have one name, an evaluator gives something
            else than it must, or nothing satisfies the constraints.
    """
    chosen = list(evaluators) if isinstance(evaluators, Sequence) else [evaluators]
    if not chosen or not all(isinstance(each, Evaluator) for each in chosen):
        raise InvalidInputError("optimize needs evaluators: objects with `metrics` and `evaluate(subnets, split)`")
    if bare := [type(each).__name__ for each in chosen if not (isinstance(each.metrics, tuple | list) and each.metrics)]:
        raise InvalidInputError(f"an evaluator needs a tuple of at least one metric, {bare[0]} has none")
    if not isinstance(budget, int) or budget < 4:
        raise InvalidInputError(f"budget must be a whole number of 4 or more, got {budget!r}")
    for what, given in (("constraints", constraints), ("exact", exact), ("noise", noise)):
        if given is not None and not isinstance(given, Mapping):
            raise InvalidInputError(f"{what} must be a mapping from names, got {given!r:.80}")
    metrics = [metric for each in chosen for metric in each.metrics]
    if odd := [metric for metric in metrics if not isinstance(metric, Metric)]:
        raise InvalidInputError(f"metrics of an evaluator are a tuple of nas.Metric, got {odd[0]!r:.80}")
    names = [metric.name for metric in metrics]
    if len(set(names)) != len(names):
        raise InvalidInputError(f"each metric needs a name of its own, got {names}")
    for metric in metrics:
        declare(metric, is_fixed=False)
    exact = {name: f if isinstance(f, FactorTable) else _Exact(name, f) for name, f in (exact or {}).items()}
    for name in exact:
        forget(name)
    if both := sorted({*names, *exact} & set(space.gene)):
        raise InvalidInputError(f"{both} are choices of the space; give metrics and objectives other names")
    if typos := sorted(set(noise or {}) - {*names, *exact}):
        raise InvalidInputError(f"noise is of metrics, which are {names}; got {typos}")
    if unknown := sorted(set(constraints or {}) - set(exact)):
        raise InvalidInputError(f"constraints are on exact objectives, which are {sorted(exact)}; got {unknown}")
    archive = None
    if storage is not None:
        url = str(storage) if "://" in str(storage) else sqlite_url(Path(storage).expanduser())
        archive = Archive(space, url, names[0], tuple(names), {"metrics": " ".join(names)})
    return search(
        space,
        Measure(space, tuple(chosen)),
        objectives=[each.metrics[0].name for each in chosen],
        cheap=exact,
        constraints=_bounds(exact, constraints or {}),
        n_measurements=budget,
        strategy=strategy,
        options=options,
        noise=noise,
        orders={metric.name: ByLoss(metric.loss) for metric in metrics if metric.loss in names},
        signals=signals,
        workers=workers,
        rng=np.random.default_rng(seed),
        archive=archive,
        progress=progress,
    )


class Measure:
    """Measures genomes by evaluators, and refuses answers of a wrong shape; picklable if they are.

    Args:
        space: The space.
        evaluators: What measures.
    """

    def __init__(self, space: SearchSpace, evaluators: tuple[Evaluator, ...]) -> None:
        self.space = space
        self.evaluators = evaluators

    def __call__(self, genomes: Genomes) -> dict[str, NDArray[np.float64]]:
        """Return all metrics of genomes of shape `(n, n_genes)` by name, each `(n,)`."""
        subnets = self.space.subnets(genomes)
        values: dict[str, NDArray[np.float64]] = {}
        for evaluator in self.evaluators:
            found = evaluator.evaluate(subnets, "val")
            for metric in evaluator.metrics:
                values[metric.name] = _checked(type(evaluator).__name__, metric, found, len(subnets))
        return values


class _Exact:
    """An exact objective of a user's: asked with genes of 64 bits, so that small integers do not wrap, and checked.

    Args:
        name: Of the objective.
        function: From genomes `(n, n_genes)` to values `(n,)`.
    """

    def __init__(self, name: str, function: Objective) -> None:
        if not callable(function):
            raise InvalidInputError(f"the exact objective '{name}' must be a function of genomes, got {function!r:.80}")
        self.name = name
        self.function = function

    def __call__(self, genomes: Genomes) -> NDArray[np.float64]:
        """Return the values of genomes."""
        with users_code(f"the exact objective '{self.name}' fails on genomes, shape (n, genes)"):
            values = np.asarray(self.function(genomes.astype(np.int64)), dtype=np.float64)
        if values.shape != (len(genomes),) or np.isnan(values).any():
            raise InvalidInputError(
                f"the exact objective '{self.name}' must give one number for each of {len(genomes)} genomes, got shape "
                f"{values.shape}{', NaN among them' if np.isnan(values).any() else ''}"
            )
        return values


def _checked(name: str, metric: Metric, found: object, n: int) -> NDArray[np.float64]:
    """Return the values of one metric, or say what is wrong with them."""
    array = found.get(metric.name) if isinstance(found, Mapping) else None
    try:
        values = np.asarray(array, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.empty((0, 0))
    if array is None or values.shape != (n,):
        got = f"{array!r:.80}" if isinstance(found, Mapping) else f"{found!r:.80}"
        raise InvalidInputError(
            f"{name}.evaluate must return '{metric.name}' with shape ({n},), one number a network; got {got}"
        )
    return values


def _bounds(exact: Mapping[str, Objective], constraints: Mapping[str, Bounds]) -> dict[str, Objective]:
    bounds: dict[str, Objective] = {}
    for name, bound in constraints.items():
        pair = bound if isinstance(bound, tuple) and len(bound) == 2 else (None, bound)
        if not all(end is None or (isinstance(end, Real) and not math.isnan(end)) for end in pair):
            raise InvalidInputError(f"a constraint is an upper bound or (lower, upper); got {bound!r:.80} for '{name}'")
        low, high = pair
        if low is not None and high is not None and low > high:
            raise InvalidInputError(f"the lower bound of '{name}' must not exceed the upper one, got {bound!r}")
        if high is not None:
            bounds[f"max {name}"] = upper_bound(exact[name], high)
        if low is not None:
            bounds[f"min {name}"] = lower_bound(exact[name], low)
    return bounds
