"""Data sets as NumPy arrays with three splits: training, validation (taken from training), test.

Validation steers the search; the test split is only reported.
"""

import gzip
import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from torch import Tensor

from nas.image_folder import read_image_folder
from search_spaces.errors import InvalidInput

DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")  # where Debian's package puts it
IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

MOST_CLASSES = 100_000
OWN_DATA = ("npz", "image_folder")  # data sets that lie where a user has put them


class Splits(NamedTuple):
    """What a loader gives: images and labels of the training and the test split, and the classes' names if it knows them."""

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
    least, greatest = images.min(axis=(0, 2, 3)), images.max(axis=(0, 2, 3))
    ranges = [f"{low:g} to {high:g}" for low, high in zip(least, greatest, strict=True)]
    values = ranges[0] if len(set(ranges)) == 1 else f"by channel {'; '.join(ranges)}"
    channels, height, width = data.image_shape
    lines = [
        f"read {data.name}: {len(images):,} training, {len(data.x_val):,} validation and {len(data.x_test):,} test images, "
        f"{channels} channel{'' if channels == 1 else 's'}, {height}x{width}, {data.n_classes} classes, values {values}"
    ]
    if (images == images[0]).all():
        return [*lines, "warning: all training images are alike: nothing can be learned from them"]
    constant = [str(i) for i, (low, high) in enumerate(zip(least, greatest, strict=True)) if low == high]
    if constant:
        lines.append(f"warning: channel {', '.join(constant)} is the same in every pixel of every image: it tells nothing")
    return lines


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


def _load_digits(path: str | None) -> Splits:
    from sklearn.datasets import load_digits

    if path is not None:
        raise InvalidInput(f"the data set 'digits' takes no path, got '{path}'")
    digits = load_digits()
    x, x_test, y, y_test = train_test_split(
        digits.images, digits.target, test_size=360, stratify=digits.target, random_state=0
    )
    return Splits(x, y, x_test, y_test)


def _load_fashion_mnist(path: str | None) -> Splits:
    folder = Path(path) if path is not None else DEBIAN_FASHION_MNIST
    x, y, x_test, y_test = (_read_idx(folder, name) for name in IDX_FILES)
    return Splits(x, y, x_test, y_test)


def _read_idx(folder: Path, name: str) -> NDArray[np.uint8]:
    """Read one idx file, the format of Yann LeCun's MNIST: two zero bytes, type, rank, big-endian sizes, data."""
    file = next((f for f in (folder / f"{name}.gz", folder / name) if f.is_file()), None)
    if file is None:
        raise InvalidInput(
            f"'{folder}' holds no {name}[.gz]; install Debian's package dataset-fashion-mnist, or name the folder "
            "by `data.path` of an experiment, `--data` of `hwnas verify`"
        )
    try:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        zeros, kind, rank = struct.unpack(">HBB", content[:4])
        shape = struct.unpack(f">{rank}I", content[4 : 4 + 4 * rank])
        if zeros != 0 or kind != 0x08:
            raise ValueError("not an idx file of unsigned bytes")
        return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)
    except (OSError, EOFError, ValueError, struct.error) as error:
        raise InvalidInput(f"'{file}' is damaged: {error}") from error


def _load_npz(path: str | None) -> Splits:
    if path is None:
        raise InvalidInput("the data set 'npz' needs a path to a file with x_train, y_train, x_test, y_test")
    names = ("x_train", "y_train", "x_test", "y_test")
    try:
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as content:
            if missing := [name for name in names if name not in content]:
                raise InvalidInput(f"'{path}' lacks {missing}; it holds {list(content)}")
            x, y, x_test, y_test = (content[name] for name in names)
            if not all(isinstance(array, np.ndarray) for array in (x, y, x_test, y_test)):
                raise InvalidInput(f"'{path}' holds something else than arrays; write it with numpy.savez")
    except (OSError, EOFError, ValueError, KeyError) as error:
        if isinstance(error, InvalidInput):
            raise
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is no npz file or holds objects"
        raise InvalidInput(f"cannot read '{path}' as npz: {reason}; write it with numpy.savez") from error
    except Exception as error:  # zipfile and zlib raise their own kinds for a damaged file
        raise InvalidInput(f"'{path}' is damaged: {error}") from error
    return Splits(x, y, x_test, y_test)


def _load_image_folder(path: str | None) -> Splits:
    if path is None:
        raise InvalidInput("the data set 'image_folder' needs a path to a folder with train/CLASS/FILE and test/CLASS/FILE")
    (x, y, x_test, y_test), classes = read_image_folder(Path(path))
    return Splits(x, y, x_test, y_test, classes)


LOADERS: dict[str, Callable[[str | None], Splits]] = {
    "digits": _load_digits,
    "fashion_mnist": _load_fashion_mnist,
    "npz": _load_npz,
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
    if labels.min() < 0 or labels.max() >= MOST_CLASSES:
        raise InvalidInput(f"{split} labels must be in 0..{MOST_CLASSES - 1}, got {labels.min()}..{labels.max()}")
    return x, labels.astype(np.int64)


def _first_bad(x: NDArray[np.float32]) -> str:
    return f"image {int(np.argwhere(~np.isfinite(x))[0][0])}"


def shift(images: Tensor, pixels: int, generator: torch.Generator) -> Tensor:
    """Move every image by up to `pixels` in both directions, filling with the least value of each channel.

    Args:
        images: Shape `(n, channels, height, width)`.
        pixels: 0 gives the images back.
        generator: Source of the shifts.

    Returns:
        Shape as `images`.
    """
    if pixels == 0:
        return images
    n, _, height, width = images.shape
    least = images.amin(dim=(0, 2, 3), keepdim=True)
    padded = least.repeat(n, 1, height + 2 * pixels, width + 2 * pixels)
    padded[:, :, pixels:-pixels, pixels:-pixels] = images
    offsets = torch.randint(0, 2 * pixels + 1, (2, n, 1), generator=generator)
    rows = offsets[0] + torch.arange(height)
    columns = offsets[1] + torch.arange(width)
    batch = torch.arange(n)[:, None, None]
    return padded[batch, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
