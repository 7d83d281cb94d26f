"""Against ml_dtypes, which holds every number of every format."""

import ml_dtypes
import numpy as np
import pytest
import torch

from nas.quantizers.integers import dequantize
from nas.quantizers.minifloats import choose_minifloat_scale, fake_quantize_minifloat, quantize_minifloat
from search_spaces.precision.formats import MINIFLOATS

TYPES = {
    "e4m3": ml_dtypes.float8_e4m3fn,
    "e5m2": ml_dtypes.float8_e5m2,
    "e3m2": ml_dtypes.float6_e3m2fn,
    "e2m3": ml_dtypes.float6_e2m3fn,
    "e2m1": ml_dtypes.float4_e2m1fn,
}
ONE = torch.tensor(1.0)


def every_number(name):
    """All finite numbers of a format, ascending."""
    codes = np.arange(1 << MINIFLOATS[name].bits, dtype=np.uint8)
    numbers = codes.view(TYPES[name]).astype(np.float32)
    return torch.from_numpy(np.unique(numbers[np.isfinite(numbers)]))


@pytest.mark.parametrize("name", MINIFLOATS)
def test_every_representable_value_stays(name):
    numbers = every_number(name)
    assert numbers.max() == MINIFLOATS[name].max_value
    assert torch.equal(quantize_minifloat(numbers, ONE, MINIFLOATS[name]), numbers)
    assert torch.equal(fake_quantize_minifloat(numbers * 0.25, ONE * 0.25, MINIFLOATS[name]), numbers * 0.25)
    found = quantize_minifloat(numbers * 0.3, ONE * 0.3, MINIFLOATS[name])
    assert torch.equal(found, numbers)
    assert torch.equal(dequantize(found, ONE * 0.3), numbers * 0.3)


@pytest.mark.parametrize("name", MINIFLOATS)
def test_rounding_is_that_of_the_type(name):
    """Ties, values between, subnormal ones, zeros of both signs; whatever is too great saturates."""
    numbers = every_number(name)
    ties = (numbers[1:] + numbers[:-1]) / 2
    generator = torch.Generator().manual_seed(0)
    between = torch.randn(20_000, generator=generator) * numbers.max() / 3
    tiny = torch.randn(5_000, generator=generator) * numbers[numbers > 0].min() * 3
    values = torch.cat([ties, between, tiny, torch.tensor([0.0, -0.0])])
    max_value = MINIFLOATS[name].max_value
    expected = values.clamp(-max_value, max_value).numpy().astype(TYPES[name]).astype(np.float32)
    assert np.array_equal(quantize_minifloat(values, ONE, MINIFLOATS[name]).numpy(), expected)
    far = torch.tensor([-torch.inf, -1e30, 1e30, torch.inf])
    assert quantize_minifloat(far, ONE, MINIFLOATS[name]).tolist() == [-max_value, -max_value, max_value, max_value]


def test_nan_is_refused_and_scales_are_positive():
    e4m3 = MINIFLOATS["e4m3"]
    with pytest.raises(ValueError, match="NaN cannot be quantized"):
        quantize_minifloat(torch.tensor([1.0, torch.nan]), ONE, e4m3)
    scale = choose_minifloat_scale(torch.tensor([[1.0, -896.0], [0.0, 0.0]]), e4m3)
    assert scale[0] == 2
    assert scale[1] > 0


def test_gradients_pass_inside_and_stop_outside():
    x = torch.tensor([-9.0, 0.3, 2.6, 7.0], requires_grad=True)
    scale = torch.tensor(1.0, requires_grad=True)
    fake_quantize_minifloat(x, scale, MINIFLOATS["e2m1"]).sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 0]
    assert scale.grad.item() == pytest.approx(-6 + (0.5 - 0.3) + (3 - 2.6) + 6, abs=1e-6)
