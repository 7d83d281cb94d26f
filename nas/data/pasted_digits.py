"""scikit-learn's digits, pasted over noise: data of known truth for segmentation."""

import numpy as np
from numpy.typing import NDArray

from nas.data.digits import read_digits
from nas.data.load import DATASETS, Splits
from search_spaces.errors import InvalidInputError

SIZE = 32  # pixels of a side
ENLARGED = 2  # a digit of 8x8 pixels becomes so many times as large
MAX_DIGITS = 3
NOISE = 4.0  # greatest background value; ink has up to 16
INK = 4.0  # from here on a pixel is of the digit
N_TRAIN, N_TEST = 1500, 300


@DATASETS.register("pasted_digits")
def read_pasted_digits(path: str | None) -> Splits:
    """Return 32x32 images of one to three digits over noise; targets are masks, 0 the background, 1 to 10 the digits."""
    if path is not None:
        raise InvalidInputError(f"the data set 'pasted_digits' takes no path, got '{path}'")
    digits, rng = read_digits(None), np.random.default_rng(0)
    assert isinstance(digits, Splits)
    x, y = _pasted(np.asarray(digits.x), np.asarray(digits.y), N_TRAIN, rng)
    x_test, y_test = _pasted(np.asarray(digits.x_test), np.asarray(digits.y_test), N_TEST, rng)
    classes = ("background", *map(str, range(10)))
    return Splits(x=x, y=y, x_test=x_test, y_test=y_test, targets="masks", facts={"classes": classes})


def _pasted(
    images: NDArray[np.generic], labels: NDArray[np.generic], n: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return n images `(n, 32, 32)` and their masks; where digits overlap, the later one lies above."""
    x = rng.uniform(0, NOISE, (n, SIZE, SIZE)).astype(np.float32)
    y = np.zeros((n, SIZE, SIZE), np.int64)
    for image, mask in zip(x, y, strict=True):
        for chosen in rng.integers(len(images), size=rng.integers(1, MAX_DIGITS + 1)):
            digit = np.asarray(images[chosen], np.float32).repeat(ENLARGED, axis=0).repeat(ENLARGED, axis=1)
            row, column = rng.integers(0, SIZE - len(digit) + 1, size=2)
            place = np.s_[row : row + len(digit), column : column + len(digit)]
            ink = digit >= INK
            image[place][ink] = digit[ink]
            mask[place][ink] = 1 + int(labels[chosen])
    return x, y
