"""Ridge regression with its strength found from the evidence."""

from typing import Literal, Self, overload

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import BayesianRidge
from sklearn.utils.validation import check_array, check_is_fitted, check_X_y

from predictors.predictor import PREDICTORS, Floats


@PREDICTORS.register("ridge")
class RidgePredictor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A line over the encoded genome.

    Source:
        MacKay 1992, as in scikit-learn's `BayesianRidge`, which also gives the standard deviation.
    """

    def fit(self, X: Floats, y: Floats) -> Self:  # noqa: N803
        """See `Predictor`.

        Raises:
            ValueError: If shapes do not fit or a value is not finite.
        """
        X, y = check_X_y(X, y, dtype=np.float64)  # noqa: N806
        # A constant target leaves BayesianRidge dividing by zero.
        self.constant_ = float(y[0]) if np.ptp(y) == 0 else None
        self.model_ = BayesianRidge().fit(X, y) if self.constant_ is None else None
        self.n_features_in_ = X.shape[1]
        return self

    @overload
    def predict(self, X: Floats, return_std: Literal[False] = False) -> Floats: ...  # noqa: N803

    @overload
    def predict(self, X: Floats, return_std: Literal[True]) -> tuple[Floats, Floats]: ...  # noqa: N803

    def predict(self, X: Floats, return_std: bool = False) -> Floats | tuple[Floats, Floats]:  # noqa: N803
        """See `Predictor`."""
        check_is_fitted(self)
        X = check_array(X, dtype=np.float64)  # noqa: N806
        if self.model_ is not None:
            predicted: Floats | tuple[Floats, Floats] = self.model_.predict(X, return_std=return_std)
            return predicted
        values = np.full(len(X), self.constant_)
        return (values, np.zeros(len(X))) if return_std else values
