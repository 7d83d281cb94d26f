"""Kinds of targets: what networks should give, checked and told in words."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from search_spaces.errors import InvalidInputError
from search_spaces.registry import Registry

MAX_CLASSES = 100_000


class Targets(Protocol):
    """A kind of targets. It is registered under the name of the array that holds them."""

    def checked(self, targets: NDArray[Any], n: int, split: str) -> NDArray[Any]:
        """Return the targets of n samples as they are used.

        Raises:
            InvalidInputError: If they are none of this kind, or do not fit the samples.
        """

    def check_splits(self, train: NDArray[Any], test: NDArray[Any]) -> int:
        """Check the targets of both splits against each other, and return how many samples each split needs at least.

        Raises:
            InvalidInputError: If they do not fit together.
        """

    def strata(self, train: NDArray[Any]) -> NDArray[Any] | None:
        """Return what validation samples are stratified by, shape `(n,)`; None where nothing is."""

    def words(self, train: NDArray[Any]) -> str:
        """Return in words what networks should give, such as `10 classes`."""


TARGETS: Registry[Targets] = Registry("kind of targets")


class Labels:
    """One class a sample: whole numbers from 0."""

    def checked(self, targets: NDArray[Any], n: int, split: str) -> NDArray[np.int64]:
        """See `Targets`."""
        if targets.shape != (n,):
            raise InvalidInputError(f"{split} labels must have shape ({n},), one for each image; got {targets.shape}")
        if targets.dtype.kind not in "ui":
            raise InvalidInputError(f"{split} labels must be integers, got {targets.dtype}")
        if targets.min() < 0 or targets.max() >= MAX_CLASSES:
            raise InvalidInputError(f"{split} labels must be in 0..{MAX_CLASSES - 1}, got {targets.min()}..{targets.max()}")
        return targets.astype(np.int64)

    def check_splits(self, train: NDArray[Any], test: NDArray[Any]) -> int:
        """See `Targets`; each split needs one sample of each class."""
        n_classes = int(train.max()) + 1
        if n_classes < 2:
            raise InvalidInputError("a data set needs at least two classes, got labels of one")
        if absent := sorted(set(range(n_classes)) - set(np.unique(train).tolist())):
            raise InvalidInputError(
                f"the training labels must name every class in 0..{n_classes - 1}, but have no {absent[:5]}"
            )
        if test.max() >= n_classes:
            raise InvalidInputError(f"the training labels are 0..{n_classes - 1}, but a test label is {test.max()}")
        return n_classes

    def strata(self, train: NDArray[Any]) -> NDArray[Any]:
        """See `Targets`."""
        return train

    def words(self, train: NDArray[Any]) -> str:
        """See `Targets`."""
        return f"{int(train.max()) + 1} classes"


TARGETS.register("labels")(Labels())
