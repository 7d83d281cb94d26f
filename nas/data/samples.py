"""Samples of a user's: what a trained model takes, some to calibrate on, others to measure on; perhaps with labels."""

import hashlib
import math
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from search_spaces.errors import DamagedFileError, HwnasError, InvalidInputError
from search_spaces.graph.tensor import TensorSpec
from search_spaces.plugins import load_plugin

Arrays = Mapping[str, NDArray[Any]]
LABELS = "labels"
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff")
PARTS = ("calibrate", "val", "test")
MIN_SAMPLES = 6
MAX_CALIBRATION = 128
MAX_MEASURED = 256  # of each split: more say little more of a divergence


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """How a folder of pictures becomes what a model takes: (pixel / 255 - mean) / std."""

    mean: tuple[float, ...] = (0.0,)
    """Of each channel, or one for all."""
    std: tuple[float, ...] = (1.0,)
    """Of each channel, or one for all."""
    resize: int = 0
    """Shorter side before the middle is cut out; 0: as large as the model takes."""
    layout: str = "rgb"
    """`rgb` or `bgr`; of a model with one channel pictures are gray."""

    def __post_init__(self) -> None:
        if not all(math.isfinite(x) for x in self.mean) or not all(0 < x < math.inf for x in self.std):
            raise InvalidInputError(f"mean must be numbers and std above 0, got {list(self.mean)} and {list(self.std)}")
        if self.resize < 0:
            raise InvalidInputError(f"resize must be 0 or more, got {self.resize}")


PRESETS = {
    "imagenet": Pictures(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), resize=256),
    "tensorflow": Pictures(mean=(0.5,), std=(0.5,)),
}


@dataclass(frozen=True)
class Samples:
    """Samples in three parts, none of which shares one with another.

    Attributes:
        calibrate: Those that scales and repairs are made of.
        val: Those that networks are measured on.
        test: Those that the front is tested on, which chose nothing.
        answers: Labels of `val` and `test`, shape `(n,)` each; none without labels.
        source: Where they come from.
    """

    calibrate: Arrays
    val: Arrays
    test: Arrays
    answers: Mapping[str, NDArray[np.int64]]
    source: str

    def split(self, name: str) -> Arrays:
        """Return a part by its name."""
        parts = {"calibrate": self.calibrate, "val": self.val, "test": self.test}
        return parts[name]

    def check_answers(self, why: str) -> None:
        """Raise `InvalidInputError` if there are no labels, with what they are needed for."""
        if not self.answers:
            raise InvalidInputError(f"{why} needs labels: an array `labels` beside the samples")

    def check_classes(self, shape: tuple[int, ...]) -> None:
        """Raise `InvalidInputError` if labels are none of the classes of an output of this shape, without the batch axis."""
        n = math.prod(shape)
        for labels in self.answers.values():
            if n > 1 and not 0 <= labels.min() <= labels.max() < n:
                raise InvalidInputError(
                    f"labels go from {labels.min()} to {labels.max()}; the model's first output has {n} classes, from 0"
                )

    @property
    def sizes(self) -> dict[str, int]:
        """Number of samples of each part."""
        return {name: len(next(iter(self.split(name).values()))) for name in PARTS}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all arrays, 16 hexadecimal digits."""
        content = hashlib.sha256()
        for part in (self.calibrate, self.val, self.test, self.answers):
            for name in sorted(part):
                content.update(name.encode())
                content.update(np.ascontiguousarray(part[name]).data)
        return content.hexdigest()[:16]

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """Least and greatest value of each input that was seen."""
        arrays = {name: [self.split(part)[name] for part in PARTS] for name in self.calibrate}
        return {
            name: (float(min(a.min() for a in parts)), float(max(a.max() for a in parts))) for name, parts in arrays.items()
        }


def load_samples(source: str, inputs: Sequence[TensorSpec], *, seed: int = 0, pictures: Pictures = Pictures()) -> Samples:
    """Return a user's samples in three parts, drawn at random.

    Args:
        source: `.npz` with an array for each input, samples first, and perhaps `labels`; `FILE.py:FUNCTION`, which
            gives such arrays by name; or a folder of pictures, whose subfolders are no labels.
        inputs: What the model takes.
        seed: Of the draw.
        pictures: How pictures are turned into what the model takes.

    Raises:
        InvalidInputError: If they cannot be read, are not what the model takes, or are fewer than 6.
    """
    path = Path(source.partition(".py:")[0] + ".py" if ".py:" in source else source).expanduser()
    if not path.exists():
        raise InvalidInputError(f"there are no samples at '{path}'")
    if ".py:" in source:
        given = call(source)
        if not isinstance(given, Mapping):
            raise InvalidInputError(f"'{source}' must give arrays by name of the input, got {type(given).__name__}")
        arrays = dict(given)
    elif path.is_dir():
        arrays = {inputs[0].name: _read_pictures(path, inputs, pictures)}
    else:
        arrays = _read_npz(path)
    return split_samples(arrays, inputs, seed=seed, source=source)


def split_samples(arrays: Mapping[str, Any], inputs: Sequence[TensorSpec], *, seed: int, source: str) -> Samples:
    """Return samples in three parts, drawn at random; see `load_samples`.

    Raises:
        InvalidInputError: If they are not what the model takes, or too few.
    """
    try:
        found = {str(name): np.asarray(array) for name, array in arrays.items()}
    except (ValueError, TypeError, RuntimeError) as error:  # also tensors that want gradients
        raise InvalidInputError(f"the samples of '{source}' are no arrays: {error}") from error
    labels = found.pop(LABELS, None) if LABELS not in {tensor.name for tensor in inputs} else None
    if len(found) == 1 == len(inputs):
        found = {inputs[0].name: next(iter(found.values()))}
    labels = None if labels is None else _checked_labels(labels, source)
    names = [tensor.name for tensor in inputs]
    if set(found) != set(names):
        raise InvalidInputError(f"the samples of '{source}' are {sorted(found)}, the model takes {names}")
    checked = {tensor.name: _checked(found[tensor.name], tensor, source) for tensor in inputs}
    counts = {name: len(array) for name, array in checked.items()} | ({LABELS: len(labels)} if labels is not None else {})
    if len(set(counts.values())) > 1:
        raise InvalidInputError(f"the samples of '{source}' differ in number: {counts}")
    n = next(iter(counts.values()))
    if n < MIN_SAMPLES:
        raise InvalidInputError(f"'{source}' holds {n} samples; {MIN_SAMPLES} at least are needed, some hundred are good")
    order = np.random.default_rng(seed).permutation(n)
    n_calibrate = min(MAX_CALIBRATION, n // 3)
    n_val = min(MAX_MEASURED, (n - n_calibrate) // 2)
    parts = (order[:n_calibrate], order[n_calibrate : n_calibrate + n_val], order[n_calibrate + n_val :][:MAX_MEASURED])
    calibrate, val, test = ({name: array[part] for name, array in checked.items()} for part in parts)
    known = {} if labels is None else {"val": labels[parts[1]], "test": labels[parts[2]]}
    return Samples(calibrate, val, test, {name: np.asarray(each, np.int64) for name, each in known.items()}, source)


def call(source: str) -> Any:
    """Return what a function of a user's file gives: `FILE.py:FUNCTION`. The file is run.

    Raises:
        InvalidInputError: If there is no such file or function, or it raises.
    """
    file, _, name = source.rpartition(":")
    path = Path(file).expanduser()
    if not path.is_file():
        raise InvalidInputError(f"there is no file '{path}'")
    sys.path.insert(0, str(path.parent.resolve()))  # of files beside it
    try:
        module = load_plugin(str(path))
        if not hasattr(module, name):
            raise InvalidInputError(f"'{path}' has no function '{name}'")
        return getattr(module, name)()
    except HwnasError:
        raise
    except (Exception, SystemExit) as error:  # whatever code of a user's raises
        raise InvalidInputError(f"'{source}' raises {type(error).__name__}: {error}") from error
    finally:
        sys.path.pop(0)


def _checked_labels(labels: NDArray[Any], source: str) -> NDArray[Any]:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise InvalidInputError(
            f"`labels` of '{source}' must be whole numbers, one for each sample; got {labels.dtype} of shape {labels.shape}"
        )
    return labels


def _checked(array: NDArray[Any], tensor: TensorSpec, source: str) -> NDArray[Any]:
    if array.shape[1:] == (1, *tensor.shape):  # with a batch axis of their own
        array = array[:, 0]
    if array.shape[1:] != tensor.shape:
        is_batch = not tensor.batched and array.shape[1:] == tensor.shape[1:]
        way_out = f": {tensor.shape[0]} at once; export it with a batch of 1, or an open one" if is_batch else ""
        raise InvalidInputError(
            f"samples of '{source}' for input '{tensor.name}' have shape {array.shape[1:]}, the model takes {tensor.shape}"
            + way_out
        )
    if array.dtype.kind not in "fiub":
        raise InvalidInputError(f"samples of '{source}' for input '{tensor.name}' are no numbers, but {array.dtype}")
    if np.dtype(tensor.dtype).kind in "iu" and array.dtype.kind == "f":
        raise InvalidInputError(f"input '{tensor.name}' takes {tensor.dtype}, the samples of '{source}' are {array.dtype}")
    with np.errstate(invalid="ignore"):
        converted = array.astype(tensor.dtype)
    if converted.dtype.kind != "f" and not (converted == array).all():
        raise InvalidInputError(
            f"samples of '{source}' for input '{tensor.name}' are {array.dtype} from {array.min()} to {array.max()}, which "
            f"{tensor.dtype} does not hold"
        )
    if converted.dtype.kind == "f" and not np.isfinite(converted).all():
        raise InvalidInputError(f"samples of '{source}' for input '{tensor.name}' hold NaN or infinity")
    return converted


def _read_npz(path: Path) -> dict[str, NDArray[Any]]:
    try:
        if path.suffix == ".npy":
            return {"samples": np.load(path, allow_pickle=False)}
        loaded = np.load(path, allow_pickle=False)
        if not hasattr(loaded, "files"):
            raise InvalidInputError(f"'{path}' is no .npz: give each input's array a name, by np.savez")
        with loaded as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, BadZipFile, EOFError) as error:
        advice = "" if "pickle" in str(error) else f": {error}"
        raise InvalidInputError(
            f"'{path}' holds no arrays of numbers, or is damaged{advice}; samples are a .npz of np.savez, FILE.py:FUNCTION "
            "or a folder of pictures"
        ) from error


def _read_pictures(folder: Path, inputs: Sequence[TensorSpec], settings: Pictures) -> NDArray[np.float32]:
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if len(inputs) != 1 or len(inputs[0].shape) != 3:
        raise InvalidInputError("a folder of pictures is for models that take one image; give arrays as .npz")
    if not files:
        raise InvalidInputError(f"'{folder}' holds no pictures ({', '.join(SUFFIXES)})")
    channels, height, width = inputs[0].shape
    if width in (1, 3) and channels not in (1, 3):
        raise InvalidInputError(f"input '{inputs[0].name}' has its channels last; give arrays as .npz")
    if wrong := [x for x in (settings.mean, settings.std) if len(x) not in (1, channels)]:
        raise InvalidInputError(f"mean and std have one number, or one for each of {channels} channels; got {wrong[0]}")
    mean, std = (np.reshape(np.broadcast_to(x, channels), (-1, 1, 1)) for x in (settings.mean, settings.std))
    found = []
    for file in files:
        try:
            with Image.open(file) as opened:
                image = opened.convert("L" if channels == 1 else "RGB")
                short = settings.resize or max(height, width)
                factor = max(short / min(image.size), height / image.height, width / image.width)
                image = image.resize((max(width, round(image.width * factor)), max(height, round(image.height * factor))))
                left, top = (image.width - width) // 2, (image.height - height) // 2
                pixels = np.asarray(image.crop((left, top, left + width, top + height)), np.float32)
        except (OSError, UnidentifiedImageError) as error:
            raise InvalidInputError(f"'{file}' is no picture: {error}") from error
        planes = pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
        planes = planes[::-1] if settings.layout == "bgr" else planes
        found.append((planes / 255 - mean) / std)
    return np.stack(found).astype(np.float32)


def save_samples(samples: Samples, file: Path) -> None:
    """Write samples in their three parts."""
    arrays = {f"{part}|{name}": array for part in PARTS for name, array in samples.split(part).items()}
    arrays |= {f"labels|{part}": array for part, array in samples.answers.items()}
    draft = file.with_name(f".{file.name}")
    with draft.open("wb") as out:
        np.savez(out, source=np.asarray(samples.source), **arrays)  # type: ignore[arg-type]
    shutil.move(draft, file)


def read_samples(file: Path) -> Samples:
    """Read what `save_samples` wrote.

    Raises:
        DamagedFileError: If it is not whole.
    """
    try:
        with np.load(file, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
        parts: dict[str, dict[str, Any]] = {part: {} for part in (*PARTS, "labels")}
        for key, array in arrays.items():
            part, _, name = key.partition("|")
            if name:
                parts[part][name] = array
        labels = parts.pop("labels")
        return Samples(answers=labels, source=str(arrays["source"]), **parts)
    except Exception as error:  # NumPy and zip have many kinds
        raise DamagedFileError(
            f"'{file}' is damaged ({error}); remove it, and `hwnas adopt` reads the samples again"
        ) from error
