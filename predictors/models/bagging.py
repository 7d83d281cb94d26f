"""Bagged predictors: members of one kind on draws with replacement, and how far they disagree."""

import warnings
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import BaggingRegressor, GradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from predictors.features.features import Features
from predictors.predictor import PREDICTORS, CheckedPredictor, Floats


class BaggedPredictor(CheckedPredictor):
    """Members of one kind, each fitted on a draw with replacement.

    Args:
        estimator: A scikit-learn regressor.
        n_members: How many.

    Source:
        Breiman 1996, Bagging predictors, as in scikit-learn.
    """

    def __init__(self, estimator: Any, n_members: int = 8) -> None:
        self.estimator = estimator
        self.n_members = n_members

    def _learn(self, X: Floats, y: Floats) -> None:  # noqa: N803
        constant = np.ptp(y) == 0
        estimator = DummyRegressor() if constant else clone(self.estimator)
        self.model_ = BaggingRegressor(estimator, self.n_members, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a perceptron that is still improving is good enough
            self.model_.fit(X, y)

    def _answer(self, X: Floats, return_std: bool) -> Floats | tuple[Floats, Floats]:  # noqa: N803
        answers = np.array([member.predict(X) for member in self.model_.estimators_])
        return (answers.mean(axis=0), answers.std(axis=0)) if return_std else answers.mean(axis=0)


@PREDICTORS.register("trees")
def trees_predictor(features: Features | None = None) -> BaggedPredictor:
    """Return gradient-boosted trees, bagged for their standard deviation."""
    return BaggedPredictor(GradientBoostingRegressor(n_estimators=100, max_depth=3, random_state=0))


@PREDICTORS.register("mlp")
def mlp_predictor(features: Features | None = None) -> BaggedPredictor:
    """Return small multi-layer perceptrons, bagged; input and target are standardised."""
    network = MLPRegressor(hidden_layer_sizes=(64, 64), solver="lbfgs", alpha=1.0, max_iter=200, random_state=0)
    standardised = TransformedTargetRegressor(make_pipeline(StandardScaler(), network), transformer=StandardScaler())
    return BaggedPredictor(standardised, n_members=5)
