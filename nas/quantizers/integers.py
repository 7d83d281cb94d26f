"""Integers times a scale: choose the scale, quantize, dequantize, fake-quantize. Everything else is built on these."""

import math
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

ChooseScale = Callable[[Tensor, int], Tensor]
FakeQuantize = Callable[[Tensor, Tensor, int, int], Tensor]

N_SHRINK_FACTORS = 40
LEAST_SCALE = 1e-12


@torch.no_grad()
def choose_scale(values: Tensor, high: int) -> Tensor:
    """Choose, for each row, the symmetric scale with the least squared rounding error.

    The scale that just holds the greatest value is shrunk by factors from 1 down to 0.25. At 127 steps or more no search is
    made: clipping never pays there.

    Args:
        values: Shape `(rows, n)`.
        high: Greatest integer; the range is `-high..high`.

    Returns:
        Shape `(rows,)`, positive, in units of `values`.
    """
    magnitudes = values.abs()
    if high >= 127:
        return magnitudes.amax(dim=1).clamp(min=LEAST_SCALE * high) / high
    return search_scale(magnitudes, scale_settings(high, values.device))


@cache
def scale_settings(high: int, device: torch.device) -> Tensor:
    """Return what `search_scale` tries: the scales for a greatest value of one, then the greatest integer."""
    factors = torch.linspace(1.0, 0.25, N_SHRINK_FACTORS, device=device)
    return torch.cat([factors / high, factors.new_tensor([float(high)])])


def search_scale(magnitudes: Tensor, settings: Tensor) -> Tensor:
    """Return the best of the scales tried, shape `(rows,)`; made of operations that compile into one loop.

    Args:
        magnitudes: Shape `(rows, n)`, absolute values.
        settings: As `scale_settings` gives them.
    """
    high = settings[-1]
    scales = settings[:-1, None] * magnitudes.amax(dim=1).clamp(min=LEAST_SCALE)
    scaled = magnitudes / scales[..., None]
    error = (scaled.round().clamp(max=high) - scaled).square().sum(dim=2) * scales.square()
    return scales.gather(0, error.argmin(dim=0, keepdim=True))[0]


@torch.no_grad()
def choose_scale_and_zero_point(values: Tensor, levels: int) -> tuple[Tensor, Tensor]:
    """Choose scale and zero point of asymmetric integers with the least squared rounding error.

    The range that just holds all values, and zero, is shrunk at both ends by factors from 1 down to 0.25.

    Args:
        values: Shape `(n,)`.
        levels: Greatest integer; the least is 0.

    Returns:
        Scale and zero point, both of shape `()`; the zero point is an integer in `0..levels`. Both are NaN if a value is.
    """
    low, high = values.amin().clamp(max=0.0), values.amax().clamp(min=0.0)
    best = (values.new_tensor(math.inf), values.new_tensor(math.nan), values.new_tensor(math.nan))
    for factor in torch.linspace(1.0, 0.25, N_SHRINK_FACTORS).tolist():
        scale = (factor * (high - low) / levels).clamp(min=LEAST_SCALE)
        zero_point = (-factor * low / scale).round().clamp(0, levels)
        rounded = (values / scale).round().clamp(-zero_point, levels - zero_point) * scale
        error = (rounded - values).square().sum()
        if error < best[0]:
            best = (error, scale, zero_point)
    return best[1], best[2]


def quantize(values: Tensor, scale: Tensor, low: int, high: int) -> Tensor:
    """Return `values / scale` rounded half to even and saturated to `low..high`, as floats.

    Raises:
        ValueError: If a value is NaN, for which there is no integer.
    """
    refuse_nan(values)
    return (values / scale).round().clamp(low, high)


def dequantize(integers: Tensor, scale: Tensor) -> Tensor:
    """Return `integers * scale`."""
    return integers * scale


def fake_quantize(values: Tensor, scale: Tensor, low: int | Tensor, high: int | Tensor) -> Tensor:
    """Quantize and dequantize, with gradients.

    Args:
        values: Any shape.
        scale: Broadcasts against `values`; positive.
        low: Least integer; as a tensor of shape `()` it has a gradient too.
        high: Greatest integer, likewise.

    Returns:
        Shape as `values`. The gradient passes straight through where the integer is in range and is zero elsewhere; the
        gradient of the scale is that of LSQ, that of the range that of LSQ+. NaN stays NaN, for training to notice.

    Source:
        Esser et al. 2020, arXiv:1902.08153, section 2.1; Bhalgat et al. 2020, arXiv:2004.09576, section 3.1.
    """
    return round_through((values / scale).clamp(low, high)) * scale  # type: ignore[arg-type]  # two ints or two tensors


def refuse_nan(values: Tensor) -> None:
    """Raise `ValueError` if a value is NaN."""
    if values.isnan().any():
        raise ValueError("NaN cannot be quantized")


def round_through(values: Tensor, low: float | None = None, high: float | None = None) -> Tensor:
    """Return values rounded and, with bounds, clipped to them, with the gradient of the values themselves everywhere."""
    rounded = values.detach().round()
    if low is not None:
        rounded = rounded.clamp(low, high)
    return values + (rounded - values.detach())  # in this order it is the rounded value to the last bit


def scale_gradient(tensor: Tensor, factor: float) -> Tensor:
    """Return `tensor` unchanged, with its gradient multiplied by `factor`."""
    return tensor * factor + (tensor * (1 - factor)).detach()
