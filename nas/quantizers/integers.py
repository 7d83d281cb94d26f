"""Integers times a scale: choose the scale, quantize, dequantize, fake-quantize. Everything else is built on these."""

import math
from collections.abc import Callable
from functools import cache
from typing import Protocol

import torch
from torch import Tensor

SearchScale = Callable[[Tensor, Tensor], Tensor]
FakeQuantize = Callable[[Tensor, Tensor, int, int], Tensor]
FakeQuantizeAny = Callable[[Tensor, Tensor, int | Tensor, int | Tensor], Tensor]  # bounds may have gradients

N_SHRINK_FACTORS = 40
MIN_SCALE = 1e-12


class ChooseScale(Protocol):
    """`choose_scale`, or one that is faster."""

    def __call__(self, values: Tensor, qmax: int, *, oriented: bool = False) -> Tensor:
        """See `choose_scale`."""
        ...


@torch.no_grad()
def choose_scale(values: Tensor, qmax: int, *, oriented: bool = False) -> Tensor:
    """Choose, for each row, the scale with the least squared rounding error.

    The scale that just holds the greatest value is shrunk by factors from 1 down to 0.25. At 127 steps or more no search is
    made: clipping never pays there.

    Args:
        values: Shape `(rows, n)`.
        qmax: Greatest integer; the range is `-qmax..qmax`.
        oriented: The range is `-qmax - 1..qmax`, the sign of the scale puts the greatest value on the longer side, and the
            search begins where neither side clips. At 127 steps or more it makes no difference.

    Returns:
        Shape `(rows,)`, in units of `values`; positive unless oriented.

    Source:
        The sign: Q4_0 of llama.cpp, https://github.com/ggml-org/llama.cpp.
    """
    return chosen_by(search_scale, values, qmax, oriented=oriented)


def chosen_by(search: SearchScale, values: Tensor, qmax: int, *, oriented: bool) -> Tensor:
    """Return what `choose_scale` does, by `search_scale` or one that is faster."""
    magnitudes = values.abs()
    if qmax >= 127:
        return magnitudes.amax(dim=1).clamp(min=MIN_SCALE * qmax) / qmax
    if not oriented:
        return search(magnitudes, scale_settings(0, qmax, values.device))
    greatest = values.gather(1, magnitudes.topk(1, dim=1).indices)
    sign = torch.where(greatest > 0, -1.0, 1.0)
    return search(values * sign, scale_settings(-qmax - 1, qmax, values.device)) * sign[:, 0]


@cache
def scale_settings(qmin: int, qmax: int, device: torch.device) -> Tensor:
    """Return what `search_scale` tries: the scales for a greatest value of one, then the least and the greatest integer."""
    scales = torch.linspace(1.0, 0.25, N_SHRINK_FACTORS, device=device) / max(-qmin, qmax)
    if -qmin > qmax:  # one with which the shorter side does not clip either
        scales = torch.cat([scales.new_tensor([1 / qmax]), scales])
    return torch.cat([scales, scales.new_tensor([float(qmin), float(qmax)])])


def search_scale(values: Tensor, settings: Tensor) -> Tensor:
    """Return the best of the scales tried, shape `(rows,)`; made of operations that compile into one loop.

    Args:
        values: Shape `(rows, n)`.
        settings: As `scale_settings` gives them.
    """
    scales = settings[:-2, None] * values.abs().amax(dim=1).clamp(min=MIN_SCALE)
    scaled = values / scales[..., None]
    error = (scaled.round().clamp(settings[-2], settings[-1]) - scaled).square().sum(dim=2) * scales.square()
    return scales.gather(0, error.argmin(dim=0, keepdim=True))[0]


@torch.no_grad()
def choose_scale_and_zero_point(values: Tensor, qmax: int) -> tuple[Tensor, Tensor]:
    """Choose scale and zero point of asymmetric integers with the least squared rounding error.

    The range that just holds all values, and zero, is shrunk at both ends by factors from 1 down to 0.25.

    Args:
        values: Shape `(n,)`.
        qmax: Largest integer; the smallest is 0.

    Returns:
        Scale and zero point, both of shape `()`; the zero point is an integer in `0..qmax`. Both are NaN if a value is.
    """
    lowest, highest = values.amin().clamp(max=0.0), values.amax().clamp(min=0.0)
    best = (values.new_tensor(math.inf), values.new_tensor(math.nan), values.new_tensor(math.nan))
    for factor in torch.linspace(1.0, 0.25, N_SHRINK_FACTORS).tolist():
        scale = (factor * (highest - lowest) / qmax).clamp(min=MIN_SCALE)
        zero_point = (-factor * lowest / scale).round().clamp(0, qmax)
        rounded = (values / scale).round().clamp(-zero_point, qmax - zero_point) * scale
        error = (rounded - values).square().sum()
        if error < best[0]:
            best = (error, scale, zero_point)
    return best[1], best[2]


def quantize(values: Tensor, scale: Tensor, qmin: int, qmax: int) -> Tensor:
    """Return `values / scale` rounded half to even and saturated to `low..high`, as floats.

    Raises:
        ValueError: If a value is NaN, for which there is no integer.
    """
    refuse_nan(values)
    return (values / scale).round().clamp(qmin, qmax)


def dequantize(integers: Tensor, scale: Tensor) -> Tensor:
    """Return `integers * scale`."""
    return integers * scale


def fake_quantize(values: Tensor, scale: Tensor, qmin: int | Tensor, qmax: int | Tensor) -> Tensor:
    """Quantize and dequantize, with gradients.

    Args:
        values: Any shape.
        scale: Broadcasts against `values`; positive.
        qmin: Least integer; as a tensor of shape `()` it has a gradient too.
        qmax: Greatest integer, likewise.

    Returns:
        Shape as `values`. The gradient passes straight through where the integer is in range and is zero elsewhere; the
        gradient of the scale is that of LSQ, that of the range that of LSQ+. NaN stays NaN, for training to notice.

    Source:
        Esser et al. 2020, arXiv:1902.08153, section 2.1; Bhalgat et al. 2020, arXiv:2004.09576, section 3.1.
    """
    return round_ste((values / scale).clamp(qmin, qmax)) * scale  # type: ignore[arg-type]  # two ints or two tensors


def refuse_nan(values: Tensor) -> None:
    """Raise `ValueError` if a value is NaN."""
    if values.isnan().any():
        raise ValueError("NaN cannot be quantized")


def round_ste(values: Tensor, qmin: float | None = None, qmax: float | None = None) -> Tensor:
    """Return values rounded and, with bounds, clipped to them, with the gradient of the values themselves everywhere."""
    rounded = values.detach().round()
    if qmin is not None:
        rounded = rounded.clamp(qmin, qmax)
    return values + (rounded - values.detach())  # in this order it is the rounded value to the last bit


def scale_gradient(tensor: Tensor, factor: float) -> Tensor:
    """Return `tensor` unchanged, with its gradient multiplied by `factor`."""
    return tensor * factor + (tensor * (1 - factor)).detach()
