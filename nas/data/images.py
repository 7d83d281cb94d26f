"""Images: checked arrays, and what was read in words."""

import numpy as np
from numpy.typing import NDArray

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
