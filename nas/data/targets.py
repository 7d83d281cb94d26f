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


class Numbers:
    """Some real numbers a sample."""

    def checked(self, targets: NDArray[Any], n: int, split: str) -> NDArray[np.float32]:
        """See `Targets`."""
        if targets.ndim == 1:
            targets = targets[:, None]
        if targets.ndim != 2 or len(targets) != n or not targets.shape[1]:
            raise InvalidInputError(
                f"{split} targets must have shape ({n}, k), k numbers for each sample; got {targets.shape}"
            )
        if targets.dtype.kind not in "uif":
            raise InvalidInputError(f"{split} targets must be numbers, got {targets.dtype}")
        with np.errstate(over="ignore"):
            numbers = targets.astype(np.float32)
        if not np.isfinite(numbers).all():
            bad = int(np.argwhere(~np.isfinite(numbers))[0][0])
            raise InvalidInputError(f"{split} targets must be finite, got NaN or infinity for sample {bad}")
        return numbers

    def check_splits(self, train: NDArray[Any], test: NDArray[Any]) -> int:
        """See `Targets`."""
        if train.shape[1] != test.shape[1]:
            raise InvalidInputError(
                f"there are {train.shape[1]} numbers a training sample, but {test.shape[1]} a test sample"
            )
        if constant := np.flatnonzero(np.ptp(train, axis=0) == 0).tolist():
            raise InvalidInputError(f"the training targets {constant[:5]} are all alike: nothing can be learned of them")
        return 2

    def strata(self, train: NDArray[Any]) -> None:  # noqa: ARG002
        """See `Targets`."""
        return

    def words(self, train: NDArray[Any]) -> str:
        """See `Targets`."""
        return f"{train.shape[1]} numbers a sample"


TARGETS.register("numbers")(Numbers())


class Masks:
    """One class a pixel: whole numbers from 0."""

    def checked(self, targets: NDArray[Any], n: int, split: str) -> NDArray[np.int64]:
        """See `Targets`."""
        if targets.ndim != 3 or len(targets) != n or not targets.size:
            raise InvalidInputError(f"{split} masks must have shape ({n}, h, w), one for each image; got {targets.shape}")
        if targets.dtype.kind not in "ui":
            raise InvalidInputError(f"{split} masks must be integers, got {targets.dtype}")
        if targets.min() < 0 or targets.max() >= MAX_CLASSES:
            raise InvalidInputError(f"{split} masks must be in 0..{MAX_CLASSES - 1}, got {targets.min()}..{targets.max()}")
        return targets.astype(np.int64)

    def check_splits(self, train: NDArray[Any], test: NDArray[Any]) -> int:
        """See `Targets`."""
        check_alike(train, test, "masks")
        if train.max() < 1:
            raise InvalidInputError("the training masks are background throughout: nothing can be learned of them")
        if absent := sorted(set(range(int(train.max()) + 1)) - set(np.unique(train).tolist())):
            raise InvalidInputError(
                f"the training masks must hold every class in 0..{train.max()}, but have no {absent[:5]}"
            )
        if test.max() > train.max():
            raise InvalidInputError(f"the training masks are 0..{train.max()}, but a test mask has {test.max()}")
        return 2

    def strata(self, train: NDArray[Any]) -> None:  # noqa: ARG002
        """See `Targets`."""
        return

    def words(self, train: NDArray[Any]) -> str:
        """See `Targets`."""
        return f"masks of {int(train.max()) + 1} classes"


TARGETS.register("masks")(Masks())


def check_alike(train: NDArray[Any], test: NDArray[Any], what: str) -> None:
    """Raise `InvalidInputError` if training and test targets differ in shape."""
    if train.shape[1:] != test.shape[1:]:
        raise InvalidInputError(f"training {what} have shape {train.shape[1:]}, test {what} {test.shape[1:]}")


class LargePictures:
    """A larger picture a sample."""

    def checked(self, targets: NDArray[Any], n: int, split: str) -> NDArray[np.float32]:
        """See `Targets`."""
        if targets.ndim != 4 or len(targets) != n or not targets.size:
            raise InvalidInputError(f"{split} pictures must have shape ({n}, channels, h, w), got {targets.shape}")
        if targets.dtype.kind not in "uif":
            raise InvalidInputError(f"{split} pictures must be uint8 or float, got {targets.dtype}")
        if not np.isfinite(targets).all():
            raise InvalidInputError(f"{split} pictures must be finite, got NaN or infinity")
        return targets.astype(np.float32)

    def check_splits(self, train: NDArray[Any], test: NDArray[Any]) -> int:
        """See `Targets`."""
        check_alike(train, test, "pictures")
        return 1

    def strata(self, train: NDArray[Any]) -> None:  # noqa: ARG002
        """See `Targets`."""
        return

    def words(self, train: NDArray[Any]) -> str:
        """See `Targets`."""
        return f"pictures of {train.shape[2]}x{train.shape[3]}"


TARGETS.register("pictures")(LargePictures())
