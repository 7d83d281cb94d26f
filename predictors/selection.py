"""Selection of a predictor, its learning curve, and whether more measurements would help."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from predictors.build import build_predictor
from predictors.features.features import Features
from predictors.metrics import RankingMetrics, cross_validate, ranking_metrics
from predictors.predictor import Floats, Predictor
from search_spaces.space.space import Genomes

CANDIDATES = ("gaussian_process", "ridge", "trees", "ensemble")
ENOUGH = 20  # networks below which nothing can be compared
HELPFUL = 0.01  # of Kendall's tau
CLEAR = 0.05  # of the mean of both taus: cross-validation of a few dozen networks scatters by as much


def choose_predictor(
    features: Features,
    X: Floats,  # noqa: N803
    y: Floats,
    names: Sequence[str] = CANDIDATES,
) -> tuple[str, dict[str, RankingMetrics]]:
    """Choose the predictor that ranks unseen networks clearly best, those of the best tenth above all; otherwise the first.

    Args:
        features: What predictors see.
        X: The features of some networks, shape `(n, f)`.
        y: Truth, shape `(n,)`.
        names: Registered predictors to choose from.

    Returns:
        The name, and the cross-validated quality of each; the first name and none below 20 networks.
    """
    if len(y) < ENOUGH:
        return names[0], {}
    all_metrics = {name: cross_validate(partial(build_predictor, name, features), X, y) for name in names}
    best = max(names, key=lambda name: score(all_metrics[name]))
    return (best if score(all_metrics[best]) > score(all_metrics[names[0]]) + CLEAR else names[0]), all_metrics


def score(metrics: RankingMetrics) -> float:
    """Return the mean of both taus: the best tenth counts as much as all, but is noisy by itself; a tau of ties counts 0."""
    return float(np.mean(np.nan_to_num([metrics.tau, metrics.tau_top])))


@dataclass(frozen=True)
class LearningCurve:
    """Learning curve: the ranking of unseen networks against the number of measurements.

    Attributes:
        sizes: Networks learned from.
        taus: Kendall's tau on the others, mean over the repeats.
    """

    sizes: tuple[int, ...]
    taus: tuple[float, ...]

    @property
    def more(self) -> int:
        """Networks that it would help to measure besides; 0 if hardly, or if nothing can be said."""
        return self.sizes[-1] if self._gain > HELPFUL else 0

    @property
    def advice(self) -> str:
        """One sentence on whether measuring more would help."""
        if np.isnan(self._gain):
            return "too few networks were measured to say whether more would help"
        if self.more:
            return f"measure {self.more} more: the last doubling raised tau by {self._gain:.2f}"
        return f"more measurements would hardly help: the last doubling changed tau by {self._gain:+.2f}"

    @property
    def _gain(self) -> float:
        """Tau that the last doubling brought; NaN if too few are known."""
        usable = [tau for tau in self.taus if np.isfinite(tau)]
        return usable[-1] - usable[-2] if len(usable) > 1 else float("nan")


def learning_curve(
    build: Callable[[], Predictor],
    X: Floats,  # noqa: N803
    y: Floats,
    rng: np.random.Generator,
    *,
    n_repeats: int = 5,
) -> LearningCurve:
    """Learn from growing parts of the networks and rank the others.

    Args:
        build: Makes a predictor.
        X: Features, shape `(n, f)`, n >= 10.
        y: Truth, shape `(n,)`.
        rng: Draws the parts.
        n_repeats: Draws of each size.
    """
    largest = int(0.8 * len(y))
    sizes = sorted({max(5, largest // 2**i) for i in range(4)})
    taus = []
    for size in sizes:
        found = []
        for _ in range(n_repeats):
            order = rng.permutation(len(y))
            model = build().fit(X[order[:size]], y[order[:size]])
            rest = order[size:]
            found.append(ranking_metrics(model.predict(X[rest]), y[rest]).tau)
        taus.append(float(np.nanmean(found)) if np.isfinite(found).any() else float("nan"))
    return LearningCurve(tuple(sizes), tuple(taus))


@dataclass(frozen=True)
class Assessment:
    """Assessment of a predictor after a search.

    Attributes:
        name: The predictor.
        metrics: How well it ranks networks that it has not seen.
        curve: How that grew with measurements.
    """

    name: str
    metrics: RankingMetrics
    curve: LearningCurve


def assess(features: Features, genomes: Genomes, y: Floats, name: str | None = None) -> Assessment | None:
    """Judge a predictor on measured networks; None below 20 of them.

    Args:
        features: What the predictor sees.
        genomes: Shape `(n, n_genes)`.
        y: What was measured, shape `(n,)`.
        name: The predictor; None: the one that ranks best.
    """
    if len(y) < ENOUGH:
        return None
    seen = features(genomes)
    name = name or choose_predictor(features, seen, y)[0]
    build = partial(build_predictor, name, features)
    return Assessment(
        name, cross_validate(build, seen, y), learning_curve(build, seen, y, np.random.default_rng(0), n_repeats=3)
    )
