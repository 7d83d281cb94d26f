"""The contract of a predictor: scikit-learn's, with a standard deviation on request."""

from collections.abc import Callable
from typing import Literal, Protocol, Self, overload

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_array, check_is_fitted, check_X_y

from search_spaces.registry import Registry
from search_spaces.space.space import SearchSpace

Floats = NDArray[np.float64]


class Predictor(Protocol):
    """Learns a number of networks from their encoded genomes. Constructors only store; `fit` validates."""

    def fit(self, X: Floats, y: Floats) -> Self:  # noqa: N803
        """Learn from encoded genomes of shape `(n, f)` and values of shape `(n,)`."""

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

    def _learn(self, X: Floats, y: Floats) -> None:  # noqa: N803
        """Learn from checked input; `fit` calls it once."""
        raise NotImplementedError

    def _answer(self, X: Floats, return_std: bool) -> Floats | tuple[Floats, Floats]:  # noqa: N803
        """Return values, and their standard deviation if asked; `predict` calls it with checked input."""
        raise NotImplementedError


PREDICTORS: Registry[Callable[[SearchSpace | None], Predictor]] = Registry("predictor")
"""From the space whose genomes were encoded, or None for any other features, to a new predictor."""


def build_predictor(name: str, space: SearchSpace | None = None) -> Predictor:
    """Return a new predictor of a registered kind.

    Args:
        name: Its name.
        space: The space whose encoded genomes it will see; None: the features are something else.

    Raises:
        InvalidInputError: If there is no such predictor.
    """
    return PREDICTORS.get(name)(space)
