"""Photographs inside scikit-image's wheel, in luminance: enough for a demonstration of super-resolution."""

from importlib.util import find_spec
from pathlib import Path

from nas.data.image_folder import read_image
from nas.data.load import DATASETS
from nas.data.pictures import Picture, Pictures, to_array
from search_spaces.errors import InvalidInputError

TRAINING = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "motorcycle_left.png",
    "retina.jpg",
)
TEST = ("chelsea.png", "coffee.png", "rocket.jpg")


@DATASETS.register("photographs")
def read_photographs(path: str | None, *, scale: int = 2, patch: int = 32, height: int = 128, width: int = 128) -> Pictures:
    """Return eleven photographs to train on and three for the test.

    Args:
        path: Must be None.
        scale: How often the large pictures are as high and wide as the small ones.
        patch: Height and width of the small patches that are trained on.
        height: Of the small pictures at which time is measured.
        width: Likewise.

    Raises:
        InvalidInputError: If there is a path, or scikit-image is not installed.
    """
    if path is not None:
        raise InvalidInputError(f"the data set 'photographs' takes no path, got '{path}'")
    training, test = ([_read(name) for name in names] for names in (TRAINING, TEST))
    return Pictures(training=training, test=test, scale=scale, patch=patch, size=(height, width))


def _read(name: str) -> Picture:
    found = find_spec("skimage")
    if found is None or found.origin is None:
        raise InvalidInputError(
            "the data set 'photographs' is part of scikit-image, which is not installed: pip install 'hwnas[pictures]'"
        )
    return to_array(read_image(Path(found.origin).parent / "data" / name), luminance=True)
