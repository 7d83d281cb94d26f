"""The contract of a predictor: scikit-learn's, with a standard deviation on request."""

from collections.abc import Callable
from typing import Literal, Protocol, Self, overload

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_array, check_is_fitted, check_X_y

from predictors.features.features import Features
from search_spaces.registry import Registry

Floats = NDArray[np.float64]


class Predictor(Protocol):
    """Learns a number of networks from their features. Constructors only store; `fit` validates."""

    def fit(self, X: Floats, y: Floats) -> Self:  # noqa: N803
        """Learn from features of shape `(n, f)` and values of shape `(n,)`."""

    @overload
    def predict(self, X: Floats, return_std: Literal[False] = False) -> Floats: ...  # noqa: N803

    @overload
    def predict(self, X: Floats, return_std: Literal[True]) -> tuple[Floats, Floats]: ...  # noqa: N803

    def predict(self, X: Floats, return_std: bool = False) -> Floats | tuple[Floats, Floats]:  # noqa: N803
        """Return values of shape `(n,)`, and their standard deviation if asked."""


class CheckedPredictor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Base of the predictors here: checks its input, and hands it to the two steps that a variant writes."""

    def fit(self, X: Floats, y: Floats) -> Self:  # noqa: N803
        """See `Predictor`.

        Raises:
            ValueError: If shapes do not fit or a value is not finite.
        """
        X, y = check_X_y(X, y, dtype=np.float64)  # noqa: N806
        self._learn(X, y)
        self.n_features_in_ = X.shape[1]
        return self

    @overload
    def predict(self, X: Floats, return_std: Literal[False] = False) -> Floats: ...  # noqa: N803

    @overload
    def predict(self, X: Floats, return_std: Literal[True]) -> tuple[Floats, Floats]: ...  # noqa: N803

    def predict(self, X: Floats, return_std: bool = False) -> Floats | tuple[Floats, Floats]:  # noqa: N803
        """See `Predictor`."""
        check_is_fitted(self)
        return self._answer(check_array(X, dtype=np.float64), return_std)

    def mixture(self, X: Floats) -> tuple[Floats, Floats]:  # noqa: N803
        """Return means and standard deviations of the normals whose mixture the prediction is, both of shape `(k, n)`.

        One of a single normal is what `predict` returns; an ensemble has a normal for each member.
        """
        check_is_fitted(self)
        return self._mixture(check_array(X, dtype=np.float64))

    def refit(self, X: Floats, y: Floats) -> Self:  # noqa: N803
        """Learn from a few networks more than before; what hardly changes with them may be kept. Otherwise as `fit`."""
        check_is_fitted(self)
        X, y = check_X_y(X, y, dtype=np.float64)  # noqa: N806
        self._relearn(X, y)
        return self

    def _learn(self, X: Floats, y: Floats) -> None:  # noqa: N803
        """Learn from checked input; `fit` calls it once."""
        raise NotImplementedError

    def _relearn(self, X: Floats, y: Floats) -> None:  # noqa: N803
        """Learn again; `refit` calls it with checked input."""
        self._learn(X, y)

    def _mixture(self, X: Floats) -> tuple[Floats, Floats]:  # noqa: N803
        """Return the mixture; `mixture` calls it with checked input."""
        mean, deviation = self.predict(X, return_std=True)
        return mean[None], deviation[None]

    def _answer(self, X: Floats, return_std: bool) -> Floats | tuple[Floats, Floats]:  # noqa: N803
        """Return values, and their standard deviation if asked; `predict` calls it with checked input."""
        raise NotImplementedError


def relearn(predictor: Predictor, X: Floats, y: Floats) -> None:  # noqa: N803
    """Let a fitted predictor learn from a few networks more, quickly where it can; see `CheckedPredictor.refit`."""
    if isinstance(predictor, CheckedPredictor):
        predictor.refit(X, y)
    else:
        predictor.fit(X, y)


def mixture_of(predictor: Predictor, X: Floats) -> tuple[Floats, Floats]:  # noqa: N803
    """Return the mixture of normals that any predictor gives, see `CheckedPredictor.mixture`."""
    if isinstance(predictor, CheckedPredictor):
        return predictor.mixture(X)
    mean, deviation = predictor.predict(X, return_std=True)
    return mean[None], deviation[None]


PREDICTORS: Registry[Callable[[Features | None], Predictor]] = Registry("predictor")
"""From the features that it will see, without their signals, or None for any others, to a new predictor."""
