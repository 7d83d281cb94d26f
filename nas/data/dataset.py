"""Dataset: named arrays of three splits, training, validation (taken from training) and test.

Validation steers the search; the test split is only reported.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]
"""Arrays of some samples by name, the samples along the first axis of each."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples of the three splits.

    Attributes:
        name: As given to `load_dataset`.
        train, val, test: Arrays by name. The first one is what a network takes, float32, as the exported model takes it (of
            images raw pixels, `(n, channels, height, width)`), the last one what it should give.
        facts: What the source knows besides, such as the names of classes.
    """

    name: str
    train: Arrays
    val: Arrays
    test: Arrays
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def splits(self) -> Mapping[str, Arrays]:
        """The splits by name."""
        return {"train": self.train, "val": self.val, "test": self.test}

    @property
    def inputs(self) -> str:
        """Name of the array that a network takes."""
        return next(iter(self.train))

    @property
    def targets(self) -> str:
        """Name of the array that a network should give; of the kind of targets, too."""
        return list(self.train)[-1]

    def size(self, split: str) -> int:
        """Return the number of samples of a split."""
        return len(self.splits[split][self.inputs])

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of what a network takes, without the batch axis."""
        return self.train[self.inputs].shape[1:]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all arrays, 16 hexadecimal digits: two data sets are the same when it is."""
        content = hashlib.sha256()
        for arrays in self.splits.values():
            for array in arrays.values():
                content.update(np.ascontiguousarray(array).data)
        return content.hexdigest()[:16]

    def input_statistics(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return mean and standard deviation (1 if constant) of each channel, training split only; shapes `(channels,)`."""
        values = self.train[self.inputs]
        axes = tuple(axis for axis in range(values.ndim) if axis != 1)
        mean, std = values.mean(axis=axes, dtype=np.float64), values.std(axis=axes, dtype=np.float64)
        constant = np.ptp(values, axis=axes) == 0
        return mean.astype(np.float32), np.where(constant, 1.0, np.maximum(std, 1e-6)).astype(np.float32)
