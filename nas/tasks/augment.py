"""Augmentation of training images."""

import torch
from torch import Tensor


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
    lowest = images.amin(dim=(0, 2, 3), keepdim=True)
    padded = lowest.repeat(n, 1, height + 2 * pixels, width + 2 * pixels)
    padded[:, :, pixels:-pixels, pixels:-pixels] = images
    offsets = torch.randint(0, 2 * pixels + 1, (2, n, 1), generator=generator)
    rows = offsets[0] + torch.arange(height)
    columns = offsets[1] + torch.arange(width)
    batch = torch.arange(n)[:, None, None]
    return padded[batch, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
