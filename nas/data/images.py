"""Images: checked arrays, and what was read in words."""

import numpy as np
from numpy.typing import NDArray

from nas.data.dataset import Dataset
from nas.data.targets import TARGETS
from search_spaces.errors import InvalidInputError


def checked_images(images: NDArray[np.generic], split: str) -> NDArray[np.float32]:
    """Return images as float32 NCHW.

    Args:
        images: Shape `(n, h, w)`, NHWC or NCHW.
        split: Name of the split, for messages.

    Raises:
        InvalidInputError: If shape or type is wrong, or a value is not finite.
    """
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim != 4 or 0 in images.shape:
        raise InvalidInputError(f"{split} images must have shape (n, h, w), NHWC or NCHW, none empty; got {images.shape}")
    if images.shape[-1] in (1, 3, 4) and images.shape[1] not in (1, 3, 4):
        images = images.transpose(0, 3, 1, 2)
    if images.dtype.kind not in "uif":
        raise InvalidInputError(f"{split} images must be uint8 or float, got {images.dtype}")
    with np.errstate(over="ignore"):
        x = np.ascontiguousarray(images, dtype=np.float32)
    if not np.isfinite(x).all():
        bad = int(np.argwhere(~np.isfinite(x))[0][0])
        raise InvalidInputError(f"{split} images must be finite, got NaN or infinity in image {bad}")
    return x


def read_in_words(data: Dataset) -> list[str]:
    """Return what was read, in a line, and further lines on what is likely to be a mistake."""
    images = data.train[data.inputs]
    lowest, highest = images.min(axis=(0, 2, 3)), images.max(axis=(0, 2, 3))
    ranges = [f"{low:g} to {high:g}" for low, high in zip(lowest, highest, strict=True)]
    values = ranges[0] if len(set(ranges)) == 1 else f"by channel {'; '.join(ranges)}"
    channels, height, width = images.shape[1:]
    targets = TARGETS.get(data.targets).words(data.train[data.targets])
    lines = [
        f"read {data.name}: {len(images):,} training, {data.size('val'):,} validation and {data.size('test'):,} test images"
        f", {channels} channel{'' if channels == 1 else 's'}, {height}x{width}, {targets}, values {values}"
    ]
    if (images == images[0]).all():
        return [*lines, "warning: all training images are alike: nothing can be learned from them"]
    constant = [str(i) for i, (low, high) in enumerate(zip(lowest, highest, strict=True)) if low == high]
    if constant:
        lines.append(f"warning: channel {', '.join(constant)} is the same in every pixel of every image: it tells nothing")
    return lines
