"""The contract of a predictor: scikit-learn's, with a standard deviation on request."""

from collections.abc import Callable
from typing import Literal, Protocol, Self, overload

import numpy as np
from numpy.typing import NDArray

from search_spaces.registry import Registry

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


PREDICTORS: Registry[Callable[[], Predictor]] = Registry("predictor")
