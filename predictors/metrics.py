"""Ranking metrics of predictions: over all networks, and among the best, where it matters."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import kendalltau
from sklearn.model_selection import KFold

from predictors.predictor import Floats, Predictor


@dataclass(frozen=True)
class RankingMetrics:
    """Kendall's tau of predictions on networks that the predictor had not seen.

    Attributes:
        tau: Over all networks.
        tau_top: Over the tenth with the least true value (at least 10 networks).
        n: Number of networks.
    """

    tau: float
    tau_top: float
    n: int

    @property
    def words(self) -> str:
        """As a part of a sentence."""
        tau, top = ("undefined (ties)" if math.isnan(tau) else f"{tau:.2f}" for tau in (self.tau, self.tau_top))
        return f"Kendall tau {tau} on {self.n} networks, {top} among the best tenth"


def ranking_metrics(predicted: Floats, true: Floats) -> RankingMetrics:
    """Compare predictions with the truth, both of shape `(n,)`, smaller being better; NaN where all values tie."""
    best = np.argsort(true, kind="stable")[: max(10, len(true) // 10)]
    return RankingMetrics(_tau(predicted, true), _tau(predicted[best], true[best]), len(true))


def cross_validate(build: Callable[[], Predictor], X: Floats, y: Floats, *, folds: int = 5) -> RankingMetrics:  # noqa: N803
    """Predict each fifth of the networks from the others and compare with the truth.

    Args:
        build: Makes a predictor.
        X: Features, shape `(n, f)`, n >= `folds`.
        y: Truth, shape `(n,)`.
        folds: Number of parts.
    """
    predicted = np.empty(len(y))
    for train, test in KFold(folds, shuffle=True, random_state=0).split(X):
        predicted[test] = build().fit(X[train], y[train]).predict(X[test])
    return ranking_metrics(predicted, y)


def _tau(a: Floats, b: Floats) -> float:
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(kendalltau(a, b).statistic)
