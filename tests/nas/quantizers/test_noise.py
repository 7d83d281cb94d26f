"""Noise in place of rounding."""

import torch

from nas.quantizers.integers import fake_quantize
from nas.quantizers.noise import quantization_noise


def test_noise_is_as_large_as_a_rounding_error_and_clips_as_rounding_does():
    values = torch.linspace(-2, 2, 4001)
    scale = torch.tensor(0.1)
    noisy = quantization_noise(torch.Generator().manual_seed(0))(values, scale, -8, 7)
    clipped = values.clamp(-0.8, 0.7)
    error = noisy - clipped
    assert error.abs().max() <= 0.05
    inside = clipped == values
    rounding = (fake_quantize(values, scale, -8, 7) - values)[inside]
    assert abs(float(error[inside].std() / rounding.std()) - 1) < 0.1
    assert abs(float(error.mean())) < 0.002


def test_gradients_pass_where_values_are_in_range():
    values = torch.tensor([-3.0, 0.2, 3.0], requires_grad=True)
    scale = torch.tensor(0.1, requires_grad=True)
    noise = quantization_noise(torch.Generator().manual_seed(0))
    noise(values, scale, -8, 7).sum().backward()
    assert values.grad.tolist() == [0, 1, 0]
    assert scale.grad == -8 + 7  # the clipping level of each clipped value
    assert not torch.equal(noise(values, scale, -8, 7), noise(values, scale, -8, 7))
