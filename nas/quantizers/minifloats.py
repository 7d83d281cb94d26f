"""Minifloats times a scale: floats of 4 to 8 bits, rounded half to even, saturating, without infinities or NaN."""

import torch
from torch import Tensor

from nas.quantizers.integers import MIN_SCALE, refuse_nan
from search_spaces.precision.formats import NumberFormat


@torch.no_grad()
def choose_minifloat_scale(values: Tensor, number_format: NumberFormat) -> Tensor:
    """Return, for each row, the scale that just holds its greatest value; clipping hardly pays where steps grow with values.

    Args:
        values: Shape `(rows, n)`.
        number_format: A minifloat.

    Returns:
        Shape `(rows,)`, positive, in units of `values`.
    """
    return values.abs().amax(dim=1).clamp(min=MIN_SCALE) / number_format.max_value


def quantize_minifloat(values: Tensor, scale: Tensor, number_format: NumberFormat) -> Tensor:
    """Return `values / scale` as the nearest numbers of a minifloat, ties to the even mantissa, too great ones saturated.

    Raises:
        ValueError: If a value is NaN.
    """
    refuse_nan(values)
    return _round(values / scale, number_format)


def fake_quantize_minifloat(values: Tensor, scale: Tensor, number_format: NumberFormat) -> Tensor:
    """Quantize and dequantize, with gradients as those of `nas.quantizers.integers.fake_quantize`."""
    greatest = number_format.max_value
    scaled = (values / scale).clamp(-greatest, greatest)
    return (scaled + (_round(scaled.detach(), number_format) - scaled).detach()) * scale


def _round(scaled: Tensor, number_format: NumberFormat) -> Tensor:
    """Round to multiples of a step that doubles with the exponent; subnormal numbers have that of the least exponent."""
    min_exponent = 2 - (1 << (number_format.exponent_bits - 1))
    exponents = torch.frexp(scaled).exponent - 1
    steps = torch.ldexp(torch.ones_like(scaled), exponents.clamp(min=min_exponent) - number_format.mantissa_bits)
    return ((scaled / steps).round() * steps).clamp(-number_format.max_value, number_format.max_value)
