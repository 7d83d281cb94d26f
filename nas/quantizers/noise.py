"""Noise in place of rounding while a network is trained: what rounding does to it on average, at less cost."""

import torch
from torch import Tensor

from nas.quantizers.integers import FakeQuantizeAny


def quantization_noise(generator: torch.Generator) -> FakeQuantizeAny:
    """Return a stand-in for `fake_quantize`: values are clipped as there, and moved by up to half a step at random.

    Args:
        generator: Source of the noise.

    Source:
        Differentiable quantization by additive noise, Baskin et al. 2021, arXiv:1804.10969; for super-resolution QuantNAS,
        Shvetsov et al. 2023, arXiv:2208.14839, section 3.2. Differs: a scale has the gradient of what is clipped alone, as
        that of the noise is zero on average; minifloats are rounded.
    """

    def noisy(values: Tensor, scale: Tensor, qmin: int | Tensor, qmax: int | Tensor) -> Tensor:
        noise = torch.rand(values.shape, generator=generator, device=values.device).sub_(0.5)
        return values.clamp(scale * qmin, scale * qmax) + noise * scale.detach()

    return noisy
