"""Summary of a search: how good its predictor was, and whether to measure more."""

from pathlib import Path

import numpy as np

from nas.objectives.columns import Column, minimized
from nas.search import evolve, exact_front, hypervolume
from nas.search.study import SearchResult
from predictors import Features, RidgePredictor, assess, linear_table
from search_spaces.costs import cost_table
from search_spaces.space.space import SearchSpace


def print_search(space: SearchSpace, result: SearchResult, metric: str, run: Path) -> None:
    """Print how the metric's predictor ranks unseen networks, what more measurements would bring, and how good evolution is.

    Args:
        space: The space.
        result: A search.
        metric: What steered it.
        run: Folder of the run.
    """
    values = result.archive[metric].to_numpy(float)
    ending = "ended early: no more was gained than the noise" if result.stopped_early else "used its measurements"
    print(f"the search {ending}; {len(values)} networks measured")
    if result.failed:
        print(f"{len(result.failed)} more could not be measured: {', '.join(result.failed[:5])}")
    found = assess(Features(space), result.genomes, values, result.predictors.get(metric))
    if found is None:
        return
    print(f"predictor of the {metric} ({found.name}): {found.metrics.words} (cross-validated); {found.curve.advice}")
    if more := min(found.curve.more, space.size - len(values)):
        noise = " --set search.noise=0" if result.stopped_early else ""
        print(f"to measure {more} more: `hwnas search {run} --set search.n_measurements={len(values) + more}{noise}`")
    print(f"evolution reached {100 * evolved_share(space, result, metric):.2f} % of the exact front of a linear prediction")


def evolved_share(space: SearchSpace, result: SearchResult, metric: str) -> float:
    """Return the share of the exact hypervolume that evolution reaches where the truth is known.

    The objectives are a line fitted to the measured metric, and the packed bytes: both are sums of tables, so their exact
    front is known, and what evolution misses of it is its own fault, not the predictor's.
    """
    features = Features(space)
    values = minimized(Column.of_objective(metric), result.archive[metric].to_numpy(float))
    ridge = RidgePredictor().fit(features(result.genomes), values)
    tables = {"fitted": linear_table(features, ridge), "size_bytes": cost_table(space, "size_bytes")}
    exact = exact_front(space, tables).values
    found = evolve(space, tables, population=100, generations=60, rng=np.random.default_rng(0)).values
    width = np.ptp(exact, axis=0)
    scale = np.where(width > 0, width, 1.0)
    reference = np.full(2, 1.1)
    whole = hypervolume((exact - exact.min(axis=0)) / scale, reference)
    return hypervolume((found - exact.min(axis=0)) / scale, reference) / whole
