"""Batch norm folded into a convolution: into float weights, or into the scale and bias of integer ones."""

import torch
from torch import Tensor

BATCH_NORM_EPS = 1e-5
MAX_BIAS = 2.0**30  # of an int32; the sum over a kernel is added to it
STAND_IN_BIAS = 2.0**20  # exact in float32
MIN_CHANNEL_SCALE = 1e-20
CLEAR_OF_TIES = 1e-5  # of a sum: some dozen times what float32 loses on the way to it
HAIR = 1e-4  # of a scale
N_HAIRS = 16


def batch_norm_line(gamma: Tensor, beta: Tensor, mean: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
    """Return slope and intercept of a batch norm with fixed statistics, each of shape `(channels,)`."""
    slope = gamma / (var + BATCH_NORM_EPS).sqrt()
    return slope, beta - mean * slope


def fold_integers(
    integers: Tensor, scale: Tensor, slope: Tensor, intercept: Tensor, input_scale: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Fold a line per channel into integer weights: the integers stay, the scale takes the slope.

    A negative slope flips the integers of its channel. Where the slope is so small that the bias would leave int32, the
    channel no longer depends on its input: its integers become 0 and its scale is taken from the bias.

    Args:
        integers: Shape `(out, ...)`, in the narrow range.
        scale: Shape `(out,)`, positive.
        slope: Shape `(out,)`.
        intercept: Shape `(out,)`.
        input_scale: Shape `()`, of the activations that the weights meet.

    Returns:
        Integers, scale `(out,)` and integer bias `(out,)` in units of `input_scale * scale`, all float64.
    """
    integers, scale, slope, intercept, input_scale = (
        t.detach().double() for t in (integers, scale, slope, intercept, input_scale)
    )
    # What is shipped is float32: divide by the very numbers that the runtime multiplies with.
    folded = (scale * slope.abs()).float().double()
    vanishes = (intercept.abs() > MAX_BIAS * input_scale * folded) | (folded < MIN_CHANNEL_SCALE)
    stand_in = (intercept.abs() / (STAND_IN_BIAS * input_scale)).float().double()
    stand_in = torch.where(stand_in < MIN_CHANNEL_SCALE, torch.ones_like(stand_in), stand_in)
    folded = torch.where(vanishes, stand_in, folded)
    sign = torch.where(vanishes, torch.zeros_like(slope), slope.sign())
    bias = (intercept / (input_scale * folded)).round()
    return integers * sign.reshape(-1, *[1] * (integers.ndim - 1)), folded, bias


def nudge_scales(scale: Tensor, input_scale: Tensor, output_scale: Tensor, max_integer: int) -> Tensor:
    """Widen weight scales by a hair where an integer sum would lie halfway between two output integers.

    There the rounding of float32 decides, in each runtime and in the supernet in its own way. Few bits have few sums, so
    such a one can stand at a hundredth of the pixels of a channel, and what is one step here may change the answer.

    Args:
        scale: Shape `(out,)`, of the weights.
        input_scale: Shape `()`, of the activations that the weights meet.
        output_scale: Shape `()`, of the activations that they give.
        max_integer: Greatest output integer, with either sign.

    Returns:
        Float32, shape `(out,)`, larger by up to 0.15 %; where no sum is free of ties, the scale that is farthest from them.
    """
    halves = torch.arange(max_integer, device=scale.device) + 0.5

    def margin(scale: Tensor) -> Tensor:
        multipliers = (input_scale * scale / output_scale).double()[:, None]
        nearest_sums = (halves / multipliers).round()
        return ((nearest_sums * multipliers - halves).abs() / halves).amin(dim=1)

    scale = best = scale.float()
    most = margin(scale)
    for hairs in range(1, N_HAIRS):
        if bool((most > CLEAR_OF_TIES).all()):
            break
        wider = scale * (1 + hairs * HAIR)
        found = margin(wider)
        better = (most <= CLEAR_OF_TIES) & (found > most)
        best, most = torch.where(better, wider, best), torch.where(better, found, most)
    return best


def per_row(values: Tensor, weight: Tensor) -> Tensor:
    """Return values of shape `(out,)` in the shape in which they broadcast against a weight of shape `(out, ...)`."""
    return values.reshape(-1, *[1] * (weight.ndim - 1))
