"""Compiled fake quantizer and scale search: several times faster, so that rounding does not decide the speed of training.

The fake quantizer is compiled for flat tensors of its own, since `torch.compile` makes another version for everything else
that varies: ranks, strides, equal sizes, bases of views, gradients wanted or not.
"""

import logging
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from nas.quantizers.integers import ChooseScale, FakeQuantize, choose_scale, chosen_by, fake_quantize, search_scale

logger = logging.getLogger(__name__)


@cache
def compiled_quantizer() -> tuple[FakeQuantize, ChooseScale]:
    """Return `fake_quantize` for one scale a tensor and `choose_scale`, compiled; as they are where that fails.

    Compiling takes 5 to 20 seconds, or less where torch has it in its cache, and serves every shape and range from then on.
    Values and their gradients are those of the eager ones; the gradient of the scale differs by rounding.
    """
    try:
        with torch.enable_grad():
            for n in (16, 8192):  # torch makes two versions, for few elements and for many
                values = torch.linspace(-1, 1, n).requires_grad_()
                _CompiledFakeQuantize.apply(values, torch.tensor(0.1), -8, 7).sum().backward()  # type: ignore[no-untyped-call]
            for rows in (1, 8):
                _compiled_choose_scale(torch.linspace(-1, 1, 16 * rows).reshape(rows, 16), 7)
    except (RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        logger.warning("the quantizer cannot be compiled, training is slower without: %s", reason)
        return fake_quantize, choose_scale
    return _CompiledFakeQuantize.apply, _compiled_choose_scale


@torch.no_grad()
def _compiled_choose_scale(values: Tensor, qmax: int, *, oriented: bool = False) -> Tensor:
    """`choose_scale`; see there."""
    return chosen_by(lambda v, settings: _compiled(search_scale)(v.contiguous(), settings), values, qmax, oriented=oriented)


class _CompiledFakeQuantize(torch.autograd.Function):
    """`fake_quantize` with its gradients written out; see there for arguments and source."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, scale: Tensor, qmin: int, qmax: int) -> Tensor:
        if not (values.is_contiguous() or values.is_contiguous(memory_format=torch.channels_last)):
            values = values.contiguous()
        settings = torch.tensor((float(scale), qmin, qmax), device=values.device)
        ctx.save_for_backward(values, settings)
        rounded: Tensor = _compiled(_forward)(_flat(values), settings)
        return rounded.as_strided(values.shape, values.stride())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        values, settings = ctx.saved_tensors
        if gradient.stride() != values.stride():
            gradient = torch.empty_like(values).copy_(gradient)
        of_values, of_scale = _compiled(_backward)(_flat(values), settings, _flat(gradient))
        return of_values.as_strided(values.shape, values.stride()), of_scale, None, None


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(function, dynamic=True)


def _flat(tensor: Tensor) -> Tensor:
    """Return the elements in the order in which they lie in memory, as a tensor that is no view of the other."""
    shape = (tensor.numel(),)
    return tensor.new_empty(0).set_(tensor.untyped_storage(), tensor.storage_offset(), shape, (1,))


def _forward(values: Tensor, settings: Tensor) -> Tensor:
    scale, qmin, qmax = settings.unbind()
    return (values / scale).round().clamp(qmin, qmax) * scale


def _backward(values: Tensor, settings: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    scale, qmin, qmax = settings.unbind()
    scaled = values / scale
    clamped = scaled.clamp(qmin, qmax)
    inside = scaled == clamped
    of_scale = torch.where(inside, clamped.round() - scaled, clamped)
    return torch.where(inside, gradient, 0), (gradient * of_scale).sum()
