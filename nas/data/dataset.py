"""Dataset: images and labels of three splits, training, validation (taken from training) and test.

Validation steers the search; the test split is only reported.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Splits(NamedTuple):
    """Result of a loader: images and labels of the training and the test split, and the classes' names if it knows them."""

    x: NDArray[np.generic]
    y: NDArray[np.generic]
    x_test: NDArray[np.generic]
    y_test: NDArray[np.generic]
    classes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels of the three splits.

    Attributes:
        name: As given to `load_dataset`.
        x_train, x_val, x_test: float32, shape `(n, channels, height, width)`, raw pixels, as the exported model takes them.
        y_train, y_val, y_test: int64, shape `(n,)`, in `0..n_classes - 1`.
        n_classes: Number of classes.
        classes: Their names in the order of the labels, where the data set has them.
    """

    name: str
    x_train: NDArray[np.float32]
    y_train: NDArray[np.int64]
    x_val: NDArray[np.float32]
    y_val: NDArray[np.int64]
    x_test: NDArray[np.float32]
    y_test: NDArray[np.int64]
    n_classes: int
    classes: tuple[str, ...] = ()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        channels, height, width = self.x_train.shape[1:]
        return channels, height, width

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all images and labels, 16 hexadecimal digits: two data sets are the same when it is."""
        content = hashlib.sha256()
        for array in (self.x_train, self.y_train, self.x_val, self.y_val, self.x_test, self.y_test):
            content.update(np.ascontiguousarray(array).data)
        return content.hexdigest()[:16]

    def pixel_statistics(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return mean and standard deviation (1 if constant) of each channel, training images only; shapes `(channels,)`."""
        mean = self.x_train.mean(axis=(0, 2, 3), dtype=np.float64)
        std = self.x_train.std(axis=(0, 2, 3), dtype=np.float64)
        constant = np.ptp(self.x_train, axis=(0, 2, 3)) == 0
        return mean.astype(np.float32), np.where(constant, 1.0, np.maximum(std, 1e-6)).astype(np.float32)


def read_in_words(data: Dataset) -> list[str]:
    """Return what was read, in a line, and further lines on what is likely to be a mistake."""
    images = data.x_train
    lowest, highest = images.min(axis=(0, 2, 3)), images.max(axis=(0, 2, 3))
    ranges = [f"{low:g} to {high:g}" for low, high in zip(lowest, highest, strict=True)]
    values = ranges[0] if len(set(ranges)) == 1 else f"by channel {'; '.join(ranges)}"
    channels, height, width = data.image_shape
    lines = [
        f"read {data.name}: {len(images):,} training, {len(data.x_val):,} validation and {len(data.x_test):,} test images, "
        f"{channels} channel{'' if channels == 1 else 's'}, {height}x{width}, {data.n_classes} classes, values {values}"
    ]
    if (images == images[0]).all():
        return [*lines, "warning: all training images are alike: nothing can be learned from them"]
    constant = [str(i) for i, (low, high) in enumerate(zip(lowest, highest, strict=True)) if low == high]
    if constant:
        lines.append(f"warning: channel {', '.join(constant)} is the same in every pixel of every image: it tells nothing")
    return lines
