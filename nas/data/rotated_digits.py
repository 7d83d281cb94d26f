"""scikit-learn's digits, turned and scaled: data of known truth for regression."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform

from nas.data.digits import read_digits
from nas.data.load import DATASETS, Splits
from search_spaces.errors import InvalidInputError

SIZE = 16  # pixels of a side; a digit of scale 1 fills half of it
MAX_ANGLE = 45.0  # degrees, to both sides
SCALES = (0.8, 1.6)
COPIES = 4  # of each training digit, each turned and scaled otherwise


@DATASETS.register("rotated_digits")
def read_rotated_digits(path: str | None) -> Splits:
    """Return 16x16 images of digits, each turned by up to 45 degrees and scaled; both numbers are the targets."""
    if path is not None:
        raise InvalidInputError(f"the data set 'rotated_digits' takes no path, got '{path}'")
    upright, rng = read_digits(None), np.random.default_rng(0)
    assert isinstance(upright, Splits)
    x, y = _turned(np.repeat(upright.x, COPIES, axis=0), rng)
    x_test, y_test = _turned(upright.x_test, rng)
    facts = {"names": ("angle", "scale"), "units": ("degrees", "")}
    return Splits(x=x, y=y, x_test=x_test, y_test=y_test, targets="numbers", facts=facts)


def _turned(images: NDArray[np.generic], rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return images `(n, 16, 16)` and the angle in degrees, counter-clockwise, and scale of each, `(n, 2)`."""
    angles = rng.uniform(-MAX_ANGLE, MAX_ANGLE, len(images))
    scales = rng.uniform(*SCALES, len(images))
    turned = np.empty((len(images), SIZE, SIZE), np.float32)
    for i, (image, angle, scale) in enumerate(zip(images, np.deg2rad(angles), scales, strict=True)):
        back = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) / scale
        centre = (np.array(image.shape) - 1) / 2 - back @ np.full(2, (SIZE - 1) / 2)
        turned[i] = affine_transform(image.astype(np.float32), back, offset=centre, output_shape=(SIZE, SIZE), order=1)
    return turned, np.column_stack([angles, scales]).astype(np.float32)
