"""Dataset: named arrays of three splits, training, validation (taken from training) and test.

Validation steers the search; the test split is only reported.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]
"""Arrays of some samples by name, the samples along the first axis of each."""

SIZES = "sizes"
MAX_PIXELS = 2**18  # of a batch of whole pictures: a network holds dozens of numbers for each


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples of the three splits.

    Attributes:
        name: As given to `load_dataset`.
        train, val, test: Arrays by name. The first one is what a network takes, float32, as the exported model takes it (of
            images raw pixels, `(n, channels, height, width)`), the last one what it should give. Images of different sizes
            are filled up at the right and below to the largest; the array `sizes`, shape `(n, 2)`, says how high and wide
            each is, and targets that are images are a whole number of times as large.
        facts: What the source knows besides, such as the names of classes.
        options: Of the source, as given to `load_dataset`.
    """

    name: str
    train: Arrays
    val: Arrays
    test: Arrays
    facts: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

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

    def batches(self, split: str, n: int) -> Iterator[Arrays]:
        """Yield the samples of a split in batches of at most n, those of different sizes apart and as large as they are."""
        arrays = dict(self.splits[split])
        sizes = arrays.pop(SIZES, None)
        groups = [np.arange(self.size(split))]
        if sizes is not None:
            _, group = np.unique(sizes, axis=0, return_inverse=True)
            groups = [np.flatnonzero(group == i) for i in range(group.max() + 1)]
        for index in groups:
            together = n if sizes is None else max(1, min(n, MAX_PIXELS // int(np.prod(sizes[index[0]]))))
            for start in range(0, len(index), together):
                chosen = index[start : start + together]
                batch = {name: array[chosen] for name, array in arrays.items()}
                yield batch if sizes is None else self._cut(batch, sizes[chosen[0]])

    def _cut(self, batch: Arrays, size: NDArray[Any]) -> Arrays:
        """Return images, and what is as large or a whole number of times as large, without what they were filled up with."""
        full = batch[self.inputs].shape[-2]
        cut = {}
        for name, array in batch.items():
            factor = array.shape[-2] // full if array.ndim > 2 else 0
            height, width = factor * size
            cut[name] = array[..., :height, :width] if factor else array
        return cut

    def windows(self, split: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return inputs of a split in one shape: as they are, or, of images of any size, cut out and mirrored at the edges.

        Args:
            split: Name of the split.
            shape: Of one input, without the batch axis.

        Returns:
            Shape `(n, *shape)`; large images give several, as many as fit in.
        """
        if SIZES not in self.splits[split]:
            return np.asarray(self.splits[split][self.inputs])
        found = []
        for batch in self.batches(split, 1):
            (image,) = batch[self.inputs]
            missing = [max(0, wanted - length) for wanted, length in zip(shape[1:], image.shape[1:], strict=True)]
            image = np.pad(image, [(0, 0), *((0, n) for n in missing)], mode="symmetric")
            rows, columns = (range(0, have - want + 1, want) for have, want in zip(image.shape[1:], shape[1:], strict=True))
            found += [image[:, i : i + shape[1], j : j + shape[2]] for i in rows for j in columns]
        return np.stack(found)

    def size(self, split: str) -> int:
        """Return the number of samples of a split."""
        return len(self.splits[split][self.inputs])

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of what a network takes, without the batch axis; of pictures of any size that at which time is measured."""
        channels, *size = self.train[self.inputs].shape[1:]
        return (channels, *self.facts.get("size", size))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all arrays, 16 hexadecimal digits: two data sets are the same when it is."""
        content = hashlib.sha256()
        for arrays in self.splits.values():
            for array in arrays.values():
                content.update(np.ascontiguousarray(array).data)
        return content.hexdigest()[:16]

    def input_statistics(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return mean and standard deviation (1 if constant) of each channel, training split only; shapes `(channels,)`.

        Whole numbers, such as tokens, have none: 0 and 1.
        """
        values = self.train[self.inputs]
        if values.dtype.kind in "iu":
            return np.zeros(1, np.float32), np.ones(1, np.float32)
        axes = tuple(axis for axis in range(values.ndim) if axis != 1)
        mean, std = values.mean(axis=axes, dtype=np.float64), values.std(axis=axes, dtype=np.float64)
        constant = np.ptp(values, axis=axes) == 0
        return mean.astype(np.float32), np.where(constant, 1.0, np.maximum(std, 1e-6)).astype(np.float32)
