"""Ridge regression with its strength found from the evidence."""

import numpy as np
from sklearn.linear_model import BayesianRidge

from predictors.predictor import PREDICTORS, CheckedPredictor, Floats


@PREDICTORS.register("ridge")
class RidgePredictor(CheckedPredictor):
    """A line over the encoded genome.

    Source:
        MacKay 1992, as in scikit-learn's `BayesianRidge`, which also gives the standard deviation.
    """

    def _learn(self, X: Floats, y: Floats) -> None:  # noqa: N803
        # A constant target leaves BayesianRidge dividing by zero.
        self.constant_ = float(y[0]) if np.ptp(y) == 0 else None
        self.model_ = BayesianRidge().fit(X, y) if self.constant_ is None else None

    def _answer(self, X: Floats, return_std: bool) -> Floats | tuple[Floats, Floats]:  # noqa: N803
        if self.model_ is not None:
            predicted: Floats | tuple[Floats, Floats] = self.model_.predict(X, return_std=return_std)
            return predicted
        values = np.full(len(X), self.constant_)
        return (values, np.zeros(len(X))) if return_std else values
