"""Images in folders: `train/CLASS/FILE` and `test/CLASS/FILE`."""

import re
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from nas.data.load import DATASETS, PathNeededError, Splits
from search_spaces.errors import DamagedFileError, InvalidInputError

SPLITS = ("train", "test")
GREY = ("1", "L", "LA", "La")
COLOUR = ("P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "LAB", "HSV")


@DATASETS.register("image_folder")
def load_image_folder(path: str | None) -> Splits:
    """Return the images of a folder with `train/CLASS/FILE` and `test/CLASS/FILE`."""
    if path is None:
        raise PathNeededError(
            "the data set 'image_folder' needs a path to a folder with train/CLASS/FILE and test/CLASS/FILE"
        )
    (x, y, x_test, y_test), classes = read_image_folder(Path(path))
    return Splits(x=x, y=y, x_test=x_test, y_test=y_test, facts={"classes": classes})


def read_image_folder(folder: Path) -> tuple[list[NDArray[np.generic]], tuple[str, ...]]:
    """Read all images of both splits.

    Hidden files are passed over. Images are grey if every one of them is, otherwise RGB; transparency is dropped.

    Args:
        folder: Holds `train` and `test`, each with a folder for each class.

    Returns:
        Images and labels of the training, then of the test split, images uint8 of shape `(n, channels, height, width)`; and
        the names of the classes, sorted, in the order of the labels.

    Raises:
        InvalidInputError: If a folder is missing or empty, a file is no image or damaged, or images differ in size.
    """
    found = {split: _files(folder / split) for split in SPLITS}
    classes = tuple(sorted(found["train"]))
    if unknown := sorted(set(found["test"]) - set(classes)):
        raise InvalidInputError(f"'{folder / 'test'}' has classes that '{folder / 'train'}' lacks: {', '.join(unknown[:5])}")
    images, labels, first = {}, {}, None
    for split in SPLITS:
        files = [(file, label) for label, name in enumerate(classes) for file in found[split].get(name, [])]
        images[split] = [read_image(file) for file, _ in files]
        labels[split] = np.array([label for _, label in files], np.int64)
        for (file, _), image in zip(files, images[split], strict=True):
            first = first or (file, image.size)
            if image.size != first[1]:
                raise InvalidInputError(
                    f"all images must be of one size: '{first[0]}' is {_size(first[1])}, '{file}' is {_size(image.size)}"
                )
    grey = all(image.mode in GREY for split in SPLITS for image in images[split])
    arrays: list[NDArray[np.generic]] = []
    for split in SPLITS:
        stacked = np.stack([np.asarray(image.convert("L" if grey else "RGB")) for image in images[split]])
        arrays += [stacked[:, None] if grey else stacked.transpose(0, 3, 1, 2), labels[split]]
    return arrays, classes


def _files(folder: Path) -> dict[str, list[Path]]:
    """Return the files of each class, sorted."""
    if not folder.is_dir():
        raise InvalidInputError(f"there is no folder '{folder}': an image folder holds train/CLASS/FILE and test/CLASS/FILE")
    found = {}
    for inner in sorted(folder.iterdir()):
        if inner.name.startswith("."):
            continue
        if not inner.is_dir():
            raise InvalidInputError(f"'{inner}' lies beside the folders of the classes; move it away")
        found[inner.name] = sorted(file for file in inner.iterdir() if not file.name.startswith("."))
        if not found[inner.name]:
            raise InvalidInputError(f"the class '{inner}' has no images")
    if not found:
        raise InvalidInputError(f"'{folder}' has no folders of classes")
    return found


def read_image(file: Path) -> Image.Image:
    """Return an image, decoded and upright; a decompression bomb is refused like a damaged file."""
    if not file.is_file():
        raise InvalidInputError(f"'{file}' is no image that can be read")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file) as image:
                wide = _is_wide(image)
                image.load()
                found = ImageOps.exif_transpose(image)
    except UnidentifiedImageError as error:
        raise InvalidInputError(f"'{file}' is no image that can be read") from error
    except Exception as error:  # decoders raise their own kinds for damaged files
        raise DamagedFileError(f"'{file}' is damaged: {error}") from error
    if wide or found.mode not in GREY + COLOUR:
        raise InvalidInputError(f"'{file}' has more than 8 bits a channel ({wide or found.mode}); save such images as npz")
    return found


def _is_wide(image: Image.Image) -> str:
    """Return how a file stores more than 8 bits a channel where decoding would keep 8 of them; nothing where it does not.

    Pillow tells it in the arguments of the decoder: a raw mode such as `RGB;16B` (but `BGR;16` is 16 bits a pixel), of PPM
    the greatest value.
    """
    words = [
        word for tile in getattr(image, "tile", ()) for word in (tile.args if isinstance(tile.args, tuple) else (tile.args,))
    ]
    wide = [word for word in words if isinstance(word, str) and re.search(r";(12|16|32)[BLNS]", word)]
    wide += [tile.codec_name for tile in getattr(image, "tile", ()) if tile.codec_name == "SGI16"]
    if image.format == "PPM":
        wide += [f"values up to {word}" for word in words if isinstance(word, int) and word > 255]
    return wide[0] if wide else ""


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
