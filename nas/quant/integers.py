"""Integers times a scale: choose the scale, quantize, dequantize, fake-quantize. Everything else is built on these."""

from collections.abc import Callable

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


def quantize(values: Tensor, scale: Tensor, low: int, high: int) -> Tensor:
    """Return `values / scale` rounded half to even and saturated to `low..high`, as floats."""
    return (values / scale).round().clamp(low, high)


def dequantize(integers: Tensor, scale: Tensor) -> Tensor:
    """Return `integers * scale`."""
    return integers * scale


def fake_quantize(values: Tensor, scale: Tensor, low: int, high: int) -> Tensor:
    """Quantize and dequantize, with gradients.

    Args:
        values: Any shape.
        scale: Broadcasts against `values`; positive.
        low: Least integer.
        high: Greatest integer.

    Returns:
        Shape as `values`. The gradient passes straight through where the integer is in range and is zero elsewhere; the
        gradient of the scale is that of LSQ.

    Source:
        Esser et al. 2020, arXiv:1902.08153, section 2.1.
    """
    scaled = (values / scale).clamp(low, high)
    return (scaled + (scaled.round() - scaled).detach()) * scale


def scale_gradient(tensor: Tensor, factor: float) -> Tensor:
    """Return `tensor` unchanged, with its gradient multiplied by `factor`."""
    return tensor * factor + (tensor * (1 - factor)).detach()
