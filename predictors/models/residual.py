"""Learn only what something known before leaves: a prior, corrected.

Cheap signals, an earlier run's predictions or those of the same network in float32 say most of a value; measurements are
few. The prediction is a line over what is known, plus a residual that a predictor learns from the measurements.

Source: the quantization-aware predictor of APQ, Wang et al. 2020, arXiv:2006.08509, section 3.2, which starts from the
weights of a float predictor; ParZC, Dong et al. 2024, arXiv:2402.02105, which weighs zero-cost scores by what is measured.
Differ: what is known enters as columns, a ridge weighs it, and the residual is any predictor.
"""

import numpy as np
from sklearn.base import clone

from predictors.predictor import CheckedPredictor, Floats, Predictor, mixture_of, relearn

STRENGTH = 0.1  # of the ridge, as a share of a column's own sum of squares


class ResidualPredictor(CheckedPredictor):
    """A line over the last columns of `X`, corrected by a predictor that sees the others.

    Args:
        residual: Learns what is left.
        slopes: What the slope of each of the last columns is drawn towards: 1 for an estimate of the very target, 0 where
            nothing is known.
    """

    def __init__(self, residual: Predictor, slopes: tuple[float, ...] = (1.0,)) -> None:
        self.residual = residual
        self.slopes = slopes

    def _line(self, X: Floats, y: Floats) -> Floats:  # noqa: N803
        """Learn the line, and return what it leaves."""
        signals = X[:, -len(self.slopes) :]
        self.mean_ = signals.mean(axis=0)
        centred = signals - self.mean_
        expected = np.array(self.slopes, dtype=np.float64)
        ridge = np.diag(STRENGTH * (centred**2).sum(axis=0) + 1e-12)
        left = y - y.mean() - centred @ expected
        self.slopes_ = expected + np.linalg.solve(centred.T @ centred + ridge, centred.T @ left)
        rest: Floats = y - centred @ self.slopes_
        return rest

    def _learn(self, X: Floats, y: Floats) -> None:  # noqa: N803
        left = self._line(X, y)
        self.residual_ = clone(self.residual).fit(X[:, : -len(self.slopes)], left)

    def _relearn(self, X: Floats, y: Floats) -> None:  # noqa: N803
        left = self._line(X, y)
        relearn(self.residual_, X[:, : -len(self.slopes)], left)

    def _mixture(self, X: Floats) -> tuple[Floats, Floats]:  # noqa: N803
        means, deviations = mixture_of(self.residual_, X[:, : -len(self.slopes)])
        return means + (X[:, -len(self.slopes) :] - self.mean_) @ self.slopes_, deviations

    def _answer(self, X: Floats, return_std: bool) -> Floats | tuple[Floats, Floats]:  # noqa: N803
        mean, deviation = self.residual_.predict(X[:, : -len(self.slopes)], return_std=True)
        mean = mean + (X[:, -len(self.slopes) :] - self.mean_) @ self.slopes_
        return (mean, deviation) if return_std else mean


def with_prior(features: Floats, prior: Floats) -> Floats:
    """Return features with a prior's predictions as the last column; shapes `(n, f)` and `(n,)`."""
    return np.column_stack([features, prior])
