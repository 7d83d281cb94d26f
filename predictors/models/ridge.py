"""Ridge regression with its strength found from the evidence."""

import numpy as np
from sklearn.linear_model import BayesianRidge

from predictors.features.features import Features
from predictors.predictor import PREDICTORS, CheckedPredictor, Floats


class RidgePredictor(CheckedPredictor):
    """A line over the features.

    Args:
        alpha_2: Rate of the prior of the noise's precision.
        lambda_2: Rate of the prior of the weights' precision: the larger, the less they are held back.

    Source:
        MacKay 1992, as in scikit-learn's `BayesianRidge`, which also gives the standard deviation.
    """

    def __init__(self, alpha_2: float = 1e-6, lambda_2: float = 1e-6) -> None:
        self.alpha_2 = alpha_2
        self.lambda_2 = lambda_2

    def _learn(self, X: Floats, y: Floats) -> None:  # noqa: N803
        # A constant target leaves BayesianRidge dividing by zero.
        self.constant_ = float(y[0]) if np.ptp(y) == 0 else None
        model = BayesianRidge(alpha_2=self.alpha_2, lambda_2=self.lambda_2)
        self.model_ = model.fit(X, y) if self.constant_ is None else None

    def _answer(self, X: Floats, return_std: bool) -> Floats | tuple[Floats, Floats]:  # noqa: N803
        if self.model_ is not None:
            predicted: Floats | tuple[Floats, Floats] = self.model_.predict(X, return_std=return_std)
            return predicted
        values = np.full(len(X), self.constant_)
        return (values, np.zeros(len(X))) if return_std else values


@PREDICTORS.register("ridge")
def ridge_predictor(features: Features | None = None) -> RidgePredictor:
    """Return a ridge regression."""
    return RidgePredictor()
