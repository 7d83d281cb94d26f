"""From float to quantized: learn only what quantization changes.

Many float measurements may be known, quantized ones are few. The predictor of the quantized error is the float predictor's
answer for the same network in float32, times a slope, plus a residual that is learned from the quantized measurements.

Source: the quantization-aware predictor of APQ, Wang et al. 2020, arXiv:2006.08509, section 3.2, which starts from the
weights of a float predictor. Differs: the float prediction enters as a feature and the residual is any predictor.
"""

import numpy as np
from sklearn.base import clone

from predictors.predictor import CheckedPredictor, Floats, Predictor


class ResidualPredictor(CheckedPredictor):
    """A prior's prediction, corrected.

    The last column of `X` is the prior's prediction of each network, see `with_prior`.

    Args:
        residual: Learns what is left.
    """

    def __init__(self, residual: Predictor) -> None:
        self.residual = residual

    def _learn(self, X: Floats, y: Floats) -> None:  # noqa: N803
        prior = X[:, -1]
        # A slope of one unless the data say otherwise: a ridge of a tenth of the prior's own spread.
        centred = prior - prior.mean()
        strength = 0.1 * float(centred @ centred) + 1e-12
        self.slope_ = float((centred @ (y - y.mean()) + strength) / (centred @ centred + strength))
        self.residual_ = clone(self.residual).fit(X[:, :-1], y - self.slope_ * prior)

    def _answer(self, X: Floats, return_std: bool) -> Floats | tuple[Floats, Floats]:  # noqa: N803
        mean, deviation = self.residual_.predict(X[:, :-1], return_std=True)
        mean = mean + self.slope_ * X[:, -1]
        return (mean, deviation) if return_std else mean


def with_prior(features: Floats, prior: Floats) -> Floats:
    """Return encoded genomes with a prior's predictions as the last column; shapes `(n, f)` and `(n,)`."""
    return np.column_stack([features, prior])
