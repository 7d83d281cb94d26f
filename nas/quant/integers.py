"""Integers times a scale: choose the scale, quantize, dequantize, fake-quantize. Everything else is built on these."""

from collections.abc import Callable

import torch
from torch import Tensor

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
    greatest = values.abs().amax(dim=1).clamp(min=LEAST_SCALE * high)
    if high >= 127:
        return greatest / high
    factors = torch.linspace(1.0, 0.25, N_SHRINK_FACTORS, device=values.device)
    scales = factors[:, None] * greatest / high
    scaled = values / scales[..., None]
    error = (scaled.round().clamp(-high, high) - scaled).square().sum(dim=2) * scales.square()
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
