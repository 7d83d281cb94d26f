"""Groups along the last axis with a scale each: of weights chosen beforehand, of activations at run time."""

import torch
from torch import Tensor

from nas.quantizers.integers import ChooseScale, round_ste

ACTIVATION_QMAX = 127
MAX_SEARCHED = 2**20  # weights whose scales are searched at once, each with dozens of candidates
TINY = 1e-30  # of a group of zeros, which stays zero


def round_groups(x: Tensor, group: int) -> Tensor:
    """Round activations to 8 bits, with the scale that just holds the greatest of each row and group.

    Args:
        x: Shape `(..., n)`.
        group: Divides n.

    Returns:
        Shape as `x`; the gradient passes straight through.

    Source:
        What onnxruntime's MatMulNBits does at accuracy level 4; see `search_spaces.precision.grouped.round_rows`.
    """
    groups = x.float().reshape(*x.shape[:-1], -1, group)
    greatest = groups.detach().abs().amax(dim=-1, keepdim=True).clamp(min=TINY)
    rounded = (groups.detach() * (ACTIVATION_QMAX / greatest)).round() * (greatest / ACTIVATION_QMAX)
    return (groups + (rounded - groups.detach())).reshape(x.shape)


def choose_group_scale(weight: Tensor, group: int, qmax: int, choose: ChooseScale) -> Tensor:
    """Choose the scale of each row and group of a weight.

    Args:
        weight: Shape `(out, in)`.
        group: Divides `in`.
        qmax: Greatest integer.
        choose: Chooses the scales of rows, see `choose_scale`.

    Returns:
        Shape `(out, in / group)`; of less than 8 bits with the sign that puts the greatest weight on the side that
        has one integer more.
    """
    rows = torch.split(weight.reshape(-1, group), max(1, MAX_SEARCHED // group))
    return torch.cat([choose(part, qmax, oriented=True) for part in rows]).reshape(len(weight), -1)


def fake_quantize_groups(weight: Tensor, scale: Tensor, qmax: int) -> Tensor:
    """Return a weight rounded to integers of `-qmax - 1..qmax` times the scale of each group, with gradients of both."""
    groups = weight.reshape(*scale.shape, -1) / scale[..., None]
    return (round_ste(groups.clamp(-qmax - 1, qmax)) * scale[..., None]).reshape(weight.shape)


def quantize_groups(weight: Tensor, scale: Tensor, qmax: int) -> Tensor:
    """Return the integers of a weight as floats, shape `(out, in)`."""
    return (weight.reshape(*scale.shape, -1) / scale[..., None]).round().clamp(-qmax - 1, qmax).reshape(weight.shape)


def dequantize_groups(integers: Tensor, scale: Tensor) -> Tensor:
    """Return integers `(out, in)` times the scale `(out, in / group)` of each group."""
    return (integers.reshape(*scale.shape, -1) * scale[..., None]).reshape(integers.shape)
