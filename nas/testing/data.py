"""Contract of a data set."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from nas.data.dataset import SIZES
from nas.data.load import load_dataset
from nas.data.text import MEAN_BYTES


def check_dataset(
    name: str, *, path: str | None = None, targets: str = "labels", options: Mapping[str, Any] | None = None
) -> None:
    """Check a registered data set: three splits of one form, no sample in two of them, the same each time.

    Args:
        name: Under which it is registered.
        path: File or folder, where it needs one.
        targets: Kind of its targets, see `nas.data.targets`.
        options: Of the source, by name.
    """
    data, again = (load_dataset(name, path=path, targets=targets, options=options) for _ in range(2))
    assert data.digest == again.digest, f"'{name}' differs from one reading to the next"
    moved = load_dataset(name, path=path, targets=targets, seed=1, options=options)
    assert np.array_equal(moved.test[data.inputs], data.test[data.inputs]), "the test split depends on the seed"
    for split, arrays in data.splits.items():
        between = [name for name in arrays if name in (SIZES, MEAN_BYTES)]
        assert list(arrays) == [data.inputs, *between, data.targets], f"the {split} split has other arrays"
        assert len({len(array) for array in arrays.values()}) == 1, f"the {split} split has arrays of several lengths"
        assert arrays[data.inputs].dtype in (np.float32, np.int64)
        assert np.isfinite(arrays[data.inputs]).all()
        assert "size" in data.facts or arrays[data.inputs].shape[1:] == data.input_shape
        batches = list(data.batches(split, 100))
        assert sum(len(batch[data.inputs]) for batch in batches) == data.size(split), f"batches of {split} lose samples"
        assert data.windows(split, arrays[data.inputs].shape[1:]).shape[1:] == arrays[data.inputs].shape[1:]
    mean, std = data.input_statistics()
    assert (std > 0).all(), f"a deviation is not above 0: {std}"
    assert np.isfinite(mean).all()
