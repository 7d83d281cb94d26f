"""optimize: the Pareto front of a space and evaluators of one's own, without a run folder."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.archive.archive import Archive
from nas.archive.storage import sqlite_url
from nas.objectives.evaluator import Evaluator
from nas.objectives.objective import Objective
from nas.search.evolution.evolve import lower_bound, upper_bound
from nas.search.settings import SearchSettings, StrategySettings
from nas.search.strategies import build_strategy
from nas.search.study import SearchResult, search
from nas.tasks.metric import Metric, declare, forget
from search_spaces.errors import InvalidInputError
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
    workers: int = 1,
    storage: str | Path | None = None,
    seed: int = 0,
    progress: Callable[[int, int, str], None] = lambda done, total, note: None,
) -> SearchResult:
    """Find the Pareto front of what evaluators measure, and of exact objectives, with few measurements.

    Args:
        space: The space, such as a `TabularSpace`.
        evaluators: Measure subnets; the first metric of each is an objective, its others are recorded. Metrics are
            minimised, or maximised where their `direction` says so.
        constraints: Bounds on exact objectives by name: an upper one, or `(lower, upper)`.
        budget: Networks to measure, at least 4.
        exact: Objectives that are free and exact, such as factor tables, by name.
        strategy: Chooses what is measured; see `nas.search.strategies.STRATEGIES`.
        options: Of the strategy, by name.
        noise: By metric, a difference that means nothing; see `nas.search.search`.
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
    if bare := [type(each).__name__ for each in chosen if not each.metrics]:
        raise InvalidInputError(f"an evaluator needs at least one metric, {bare[0]} has none")
    if budget < 4:
        raise InvalidInputError(f"budget must be 4 or more, got {budget}")
    metrics = [metric for each in chosen for metric in each.metrics]
    names = [metric.name for metric in metrics]
    if len(set(names)) != len(names):
        raise InvalidInputError(f"each metric needs a name of its own, got {names}")
    for metric in metrics:
        declare(metric, is_fixed=False)
    exact = dict(exact or {})
    for name in exact:
        forget(name)
    if unknown := sorted(set(constraints or {}) - set(exact)):
        raise InvalidInputError(f"constraints are on exact objectives, which are {sorted(exact)}; got {unknown}")
    archive = None
    if storage is not None:
        url = str(storage) if "://" in str(storage) else sqlite_url(Path(storage))
        archive = Archive(space, url, names[0], tuple(names), {"metrics": " ".join(names)})
    settings = SearchSettings(strategy=StrategySettings(name=strategy, options=dict(options or {})))
    return search(
        space,
        Measure(space, tuple(chosen)),
        objectives=[each.metrics[0].name for each in chosen],
        cheap=exact,
        constraints=_bounds(exact, constraints or {}),
        n_measurements=budget,
        strategy=build_strategy(settings),
        noise=noise,
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
        low, high = bound if isinstance(bound, tuple) else (None, bound)
        if high is not None:
            bounds[f"max {name}"] = upper_bound(exact[name], high)
        if low is not None:
            bounds[f"min {name}"] = lower_bound(exact[name], low)
    return bounds
