"""Pictures of any size and their reductions: pairs for super-resolution.

A training picture is cut into patches; validation and test pictures stay whole. What networks take is made here, of the
large pictures alone, by an antialiased bicubic reduction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nas.data.dataset import Arrays, Dataset
from nas.data.image_folder import GREY, read_image
from nas.data.load import DATASETS, PathNeededError
from search_spaces.errors import InvalidInputError, check_range

Picture = NDArray[np.uint8]
"""Shape `(channels, height, width)`."""

LUMINANCE = np.array([65.481, 128.553, 24.966]) / 255  # ITU-R BT.601, of 8-bit RGB, above 16
MIN_PICTURES = 3


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Large pictures, of which a data set of pairs is made.

    Attributes:
        training, test: Large pictures, all of one number of channels.
        scale: How often the large pictures are as high and wide as the small ones.
        patch: Height and width of the small patches that are trained on.
        size: Height and width of the small pictures at which time is measured.
    """

    training: Sequence[Picture]
    test: Sequence[Picture]
    scale: int
    patch: int
    size: tuple[int, int]

    def dataset(self, name: str, *, n_val: int, seed: int, targets: str) -> Dataset:
        """Return the data set, see `nas.data.load_dataset`; `n_val` counts whole pictures.

        Raises:
            InvalidInputError: If the task needs other targets, there are too few pictures, or one is smaller than a patch.
        """
        if targets != "pictures":
            raise InvalidInputError(f"the data set '{name}' has pictures, the task needs {targets}")
        check_range("patch", self.patch, 8, 4096)
        check_range("scale", self.scale, 2, 8)
        for side, length in zip(("height", "width"), self.size, strict=True):
            check_range(side, length, 1, 100_000)
        if not self.training or not self.test:
            raise InvalidInputError(f"the data set '{name}' has no pictures to train on, or none for the test")
        if len({len(picture) for picture in (*self.training, *self.test)}) > 1:
            raise InvalidInputError(f"the data set '{name}' mixes pictures of one channel and of three")
        smallest = min(min(picture.shape[1:]) // self.scale for picture in (*self.training, *self.test))
        if smallest < self.patch:
            raise InvalidInputError(
                f"a picture is {smallest} pixels high or wide when reduced, less than a patch of {self.patch}; "
                "set data.options.patch, or leave small pictures out"
            )
        n = len(self.training)
        n_val = n_val or max(1, n // 6)
        if n < MIN_PICTURES or n_val >= n:
            raise InvalidInputError(
                f"n_val must leave at least one of {n} training pictures, of at least {MIN_PICTURES}; got {n_val}"
            )
        rng = np.random.default_rng(seed)
        order = rng.permutation(n)
        val, train = (sorted(part) for part in (order[:n_val], order[n_val:]))
        patches = [self._patches(self.training[i]) for i in train]
        small, large = (np.concatenate(arrays) for arrays in zip(*patches, strict=True))
        mixed = rng.permutation(len(small))  # the first ones calibrate: not all of one picture
        return Dataset(
            name,
            {"images": small[mixed], "pictures": large[mixed]},
            self._whole([self.training[i] for i in val]),
            self._whole(self.test),
            {"size": self.size, "scale": self.scale},
        )

    def _patches(self, picture: Picture) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the pairs that cover a picture, evenly spread and overlapping as little as possible."""
        small, large = pair(picture, self.scale)
        p, s = self.patch, self.scale
        rows, columns = (starts(length, p) for length in small.shape[1:])
        corners = [(i, j) for i in rows for j in columns]
        return (
            np.stack([small[:, i : i + p, j : j + p] for i, j in corners]).astype(np.float32),
            np.stack([large[:, s * i : s * (i + p), s * j : s * (j + p)] for i, j in corners]).astype(np.float32),
        )

    def _whole(self, pictures: Sequence[Picture]) -> Arrays:
        """Return whole pairs, filled up to the largest, with the true size of each small picture."""
        pairs = [pair(picture, self.scale) for picture in pictures]
        sizes = np.array([small.shape[1:] for small, _ in pairs])
        height, width = sizes.max(axis=0)
        images = np.zeros((len(pairs), pairs[0][0].shape[0], height, width), np.float32)
        larger = np.zeros((*images.shape[:2], height * self.scale, width * self.scale), np.float32)
        for i, (small, large) in enumerate(pairs):
            images[i, :, : small.shape[1], : small.shape[2]] = small
            larger[i, :, : large.shape[1], : large.shape[2]] = large
        return {"images": images, "sizes": sizes, "pictures": larger}


@DATASETS.register("pictures")
def read_pictures(
    path: str | None, *, scale: int = 2, patch: int = 32, height: int = 128, width: int = 128, luminance: bool = False
) -> Pictures:
    """Return the pictures of a folder with `train` and `test`, or of one folder, of which every sixth is for the test.

    Args:
        path: The folder; folders in it are looked through, too.
        scale: How often the large pictures are as high and wide as the small ones.
        patch: Height and width of the small patches that are trained on.
        height: Of the small pictures at which time is measured.
        width: Likewise.
        luminance: True to take only the luminance of colours (of ITU-R BT.601, 16 to 235); grey pictures stay as they are.

    Raises:
        PathNeededError: If there is no path.
        InvalidInputError: If there are no pictures, a file is none, or grey and coloured ones are mixed.
    """
    if path is None:
        raise PathNeededError("the data set 'pictures' needs a path to a folder of pictures")
    folder = Path(path)
    found = {part: _files(folder / part) for part in ("train", "test") if (folder / part).is_dir()}
    if len(found) == 1:
        raise InvalidInputError(f"'{folder}' has {next(iter(found))} but not the other of `train` and `test`")
    if not found:
        files = _files(folder)
        found = {"train": [f for i, f in enumerate(files) if i % 6 != 5], "test": files[5::6]}
    if empty := [part for part, files in found.items() if not files]:
        raise InvalidInputError(
            f"'{folder}' has no pictures for {empty[0]}ing; six are the least without `train` and `test`"
        )
    read = {file: read_image(file) for files in found.values() for file in files}
    grey = {file: image.mode in GREY for file, image in read.items()}
    if len(set(grey.values())) > 1 and not luminance:
        mixed = [next(file for file, is_grey in grey.items() if is_grey == kind) for kind in (True, False)]
        raise InvalidInputError(
            f"'{mixed[0]}' is grey and '{mixed[1]}' is not; set `data.options.luminance: true` to take the luminance of all"
        )
    as_array = {file: to_array(image, luminance=luminance) for file, image in read.items()}
    training, test = ([as_array[file] for file in found[part]] for part in ("train", "test"))
    return Pictures(training=training, test=test, scale=scale, patch=patch, size=(height, width))


def to_array(image: Image.Image, *, luminance: bool) -> Picture:
    """Return a picture of one channel, if it is grey or only its luminance is asked for, otherwise of three."""
    if image.mode in GREY:
        return np.asarray(image.convert("L"))[None]
    colours = np.asarray(image.convert("RGB"))
    if not luminance:
        return colours.transpose(2, 0, 1)
    return np.rint(16 + colours @ LUMINANCE).astype(np.uint8)[None]


def pair(picture: Picture, scale: int) -> tuple[Picture, Picture]:
    """Return the picture reduced, and itself without the rows and columns that are left over."""
    channels, height, width = (picture.shape[0], *(length // scale * scale for length in picture.shape[1:]))
    large = picture[:, :height, :width]
    small = resized(large, (height // scale, width // scale))
    assert small.shape[0] == channels
    return small, large


def resized(picture: Picture, size: tuple[int, int]) -> Picture:
    """Return a picture of another height and width, bicubic, antialiased where it becomes smaller, in whole numbers."""
    planes = [Image.fromarray(plane).resize(size[::-1], Image.Resampling.BICUBIC) for plane in picture]
    return np.stack([np.asarray(plane) for plane in planes])


def starts(length: int, part: int) -> list[int]:
    """Return where parts of a length begin that cover it, evenly spread."""
    n = -(-length // part)
    return sorted({round(start) for start in np.linspace(0, length - part, n).tolist()})


def _files(folder: Path) -> list[Path]:
    """Return the files in a folder and in its folders, sorted, hidden ones passed over."""
    if not folder.is_dir():
        raise InvalidInputError(f"there is no folder '{folder}' of pictures")
    files = [file for file in folder.rglob("*") if file.is_file()]
    return sorted(file for file in files if not any(part.startswith(".") for part in file.relative_to(folder).parts))
