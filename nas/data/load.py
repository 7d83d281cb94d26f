"""Data sets by name: read, checked, split."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from nas.data.dataset import Dataset, Splits
from nas.data.digits import read_digits
from nas.data.fashion_mnist import read_fashion_mnist
from nas.data.image_folder import read_image_folder
from nas.data.npz import read_npz
from search_spaces.errors import InvalidInput

MAX_CLASSES = 100_000
OWN_DATA = ("npz", "image_folder")  # data sets that lie where a user has put them


def expanded(path: str) -> Path:
    """Return a path with `~` as the home.

    Raises:
        InvalidInput: If it names the home of nobody.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise InvalidInput(f"'{path}' names a home that is not there") from error


def load_dataset(name: str, *, path: str | None = None, n_val: int = 0, seed: int = 0) -> Dataset:
    """Load a data set and take its validation images, stratified by class, from the training images.

    Args:
        name: `digits` (scikit-learn's, inside the dependency), `fashion_mnist` (a folder with the four idx files, gzipped
            or not), `npz` (a file with x_train, y_train, x_test, y_test; images `(n, h, w)`, NHWC or NCHW) or `image_folder`
            (a folder with train/CLASS/FILE and test/CLASS/FILE).
        path: File or folder, `~` is the home; `fashion_mnist` without one looks where Debian's package
            `dataset-fashion-mnist` puts it.
        n_val: Number of validation images; 0 means a sixth of the training images.
        seed: Of the split.

    Raises:
        InvalidInput: If the name is unknown, a file is missing or damaged, or images and labels do not fit together.
    """
    if name not in LOADERS:
        raise InvalidInput(f"unknown data set '{name}'; known: {', '.join(LOADERS)}")
    x, y, x_test, y_test, classes = LOADERS[name](str(expanded(path)) if path else path)
    x, y = _checked(x, y, "training")
    x_test, y_test = _checked(x_test, y_test, "test")
    if x.shape[1:] != x_test.shape[1:]:
        raise InvalidInput(f"training images have shape {x.shape[1:]}, test images {x_test.shape[1:]}")
    n_classes = int(y.max()) + 1
    if n_classes < 2:
        raise InvalidInput("a data set needs at least two classes, got labels of one")
    if absent := sorted(set(range(n_classes)) - set(np.unique(y).tolist())):
        raise InvalidInput(f"the training labels must name every class in 0..{n_classes - 1}, but have no {absent[:5]}")
    if y_test.max() >= n_classes:
        raise InvalidInput(f"the training labels are 0..{n_classes - 1}, but a test label is {y_test.max()}")
    if not n_val and len(x) // 6 < n_classes:
        raise InvalidInput(
            f"a sixth of {len(x)} training images is fewer than one of each of {n_classes} classes for validation; set n_val"
        )
    n_val = n_val or len(x) // 6
    if not n_classes <= n_val <= len(x) - n_classes:
        raise InvalidInput(f"n_val must leave both sides at least {n_classes} of {len(x)} images, got {n_val}")
    try:
        x_train, x_val, y_train, y_val = train_test_split(x, y, test_size=n_val, stratify=y, random_state=seed)
    except ValueError as error:
        raise InvalidInput(f"cannot take {n_val} validation images from the training images: {error}") from error
    return Dataset(name, x_train, y_train, x_val, y_val, x_test, y_test, n_classes, classes)


def _load_image_folder(path: str | None) -> Splits:
    if path is None:
        raise InvalidInput("the data set 'image_folder' needs a path to a folder with train/CLASS/FILE and test/CLASS/FILE")
    (x, y, x_test, y_test), classes = read_image_folder(Path(path))
    return Splits(x, y, x_test, y_test, classes)


LOADERS: dict[str, Callable[[str | None], Splits]] = {
    "digits": read_digits,
    "fashion_mnist": read_fashion_mnist,
    "npz": read_npz,
    "image_folder": _load_image_folder,
}


def _checked(
    images: NDArray[np.generic], labels: NDArray[np.generic], split: str
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return images as float32 NCHW and labels as int64, or say what is wrong with them."""
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim != 4 or 0 in images.shape:
        raise InvalidInput(f"{split} images must have shape (n, h, w), NHWC or NCHW, none empty; got {images.shape}")
    if images.shape[-1] in (1, 3, 4) and images.shape[1] not in (1, 3, 4):
        images = images.transpose(0, 3, 1, 2)
    if images.dtype.kind not in "uif":
        raise InvalidInput(f"{split} images must be uint8 or float, got {images.dtype}")
    with np.errstate(over="ignore"):
        x = np.ascontiguousarray(images, dtype=np.float32)
    if not np.isfinite(x).all():
        raise InvalidInput(f"{split} images must be finite, got NaN or infinity in {_first_bad(x)}")
    if labels.shape != (len(x),):
        raise InvalidInput(f"{split} labels must have shape ({len(x)},), one for each image; got {labels.shape}")
    if labels.dtype.kind not in "ui":
        raise InvalidInput(f"{split} labels must be integers, got {labels.dtype}")
    if labels.min() < 0 or labels.max() >= MAX_CLASSES:
        raise InvalidInput(f"{split} labels must be in 0..{MAX_CLASSES - 1}, got {labels.min()}..{labels.max()}")
    return x, labels.astype(np.int64)


def _first_bad(x: NDArray[np.float32]) -> str:
    return f"image {int(np.argwhere(~np.isfinite(x))[0][0])}"
