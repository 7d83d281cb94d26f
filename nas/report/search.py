"""Summary of a search: how good its predictor was, and whether to measure more."""

from contextlib import suppress
from pathlib import Path

import numpy as np

from nas.objectives.columns import Column
from nas.search import evolve, exact_front, hypervolume
from nas.search.acquisition import Scale
from nas.search.exact import TooLargeError
from nas.search.order import ByLoss, ByMetric
from nas.search.study import SearchResult
from predictors import Features, RidgePredictor, assess, linear_table
from search_spaces.costs import cost_table
from search_spaces.space.space import SearchSpace


def print_search(
    space: SearchSpace, result: SearchResult, metric: str, run: Path, order: ByLoss | ByMetric | None = None
) -> None:
    """Print how the metric's predictor ranks unseen networks, what more measurements would bring, and how good evolution is.

    Args:
        space: The space.
        result: A search.
        metric: What steered it.
        run: Folder of the run.
        order: By what networks are ranked instead of the metric.
    """
    values = _ranked(result, metric)
    ranked = f", ranked {order.words}," if order else ""
    ending = "ended early: no more was gained than the noise" if result.stopped_early else "used its measurements"
    print(f"the search {ending}; {len(values)} networks measured")
    if result.failed:
        print(f"{len(result.failed)} more could not be measured: {', '.join(result.failed[:5])}")
    found = assess(Features(space), result.genomes, Scale.of(values).forward(values), result.predictors.get(metric))
    if found is None:
        return
    print(f"predictor of the {metric}{ranked} ({found.name}): {found.metrics.words} (cross-validated); {found.curve.advice}")
    if more := min(found.curve.more, space.size - len(values)):
        noise = " --set search.noise=0" if result.stopped_early else ""
        print(f"to measure {more} more: `hwnas search {run} --set search.n_measurements={len(values) + more}{noise}`")
    with suppress(TooLargeError):  # where no exact front is known
        share = 100 * evolved_share(space, result, metric)
        print(f"evolution reached {share:.2f} % of the exact front of a linear prediction")


def evolved_share(space: SearchSpace, result: SearchResult, metric: str) -> float:
    """Return the share of the exact hypervolume that evolution reaches where the truth is known.

    The objectives are a line fitted to what networks were ranked by, and the packed bytes: both are sums of tables, so their
    exact front is known, and what evolution misses of it is its own fault, not the predictor's.
    """
    features = Features(space, sees_cell=False)
    ridge = RidgePredictor().fit(features(result.genomes), _ranked(result, metric))
    tables = {"fitted": linear_table(features, ridge), "size_bytes": cost_table(space, "size_bytes")}
    exact = exact_front(space, tables).values
    found = evolve(space, tables, population=100, generations=60, rng=np.random.default_rng(0)).values
    width = np.ptp(exact, axis=0)
    scale = np.where(width > 0, width, 1.0)
    reference = np.full(2, 1.1)
    whole = hypervolume((exact - exact.min(axis=0)) / scale, reference)
    return hypervolume((found - exact.min(axis=0)) / scale, reference) / whole


def _ranked(result: SearchResult, metric: str) -> np.ndarray:
    """Return what the search ranked networks by in place of the metric, or the metric as it is minimised, shape `(n,)`."""
    return result.measurements.ranked([Column.from_name(metric)])[:, 0]
