"""SharedLayers: operators of a subnet on the shared weights, batch norms on the statistics of the batch, as in training."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from nas.quantizers.minifloats import fake_quantize_minifloat
from nas.supernet.folding import BATCH_NORM_EPS, batch_norm_line, per_row
from nas.supernet.ops.conv import convolve
from nas.supernet.scales import activation_scale, rounded
from search_spaces.graph.node import Node
from search_spaces.operators.conv import Conv
from search_spaces.operators.norm import Normalize
from search_spaces.operators.quantize import Quantize

if TYPE_CHECKING:
    from nas.supernet.supernet import Supernet


class SharedLayers:
    """A `ParameterSource`.

    Args:
        supernet: Owner of the weights.
    """

    def __init__(self, supernet: "Supernet") -> None:
        self.supernet = supernet

    def normalize(self, node: Normalize, x: Tensor) -> Tensor:  # noqa: ARG002
        """See `ParameterSource`."""
        return (x - self.supernet.pixel_mean.reshape(-1, 1, 1)) / self.supernet.pixel_std.reshape(-1, 1, 1)

    def conv(self, node: Conv, x: Tensor) -> Tensor:
        """See `ParameterSource`. Channels last: depthwise gradients are three times faster so on a CPU."""
        x = x.contiguous(memory_format=torch.channels_last)
        weight, bias = self.supernet.weight(node), self.supernet.bias(node)
        if not node.batch_norm:
            return convolve(node, x, rounded(self.supernet, node, weight), bias).float()
        gamma = self.supernet.gamma(node)
        if not node.precision.per_channel:
            # One scale for the whole weight is a scale of the weight that is deployed: with the batch norm folded in.
            slope, intercept = batch_norm_line(gamma, bias, *self.statistics(node, convolve(node, x, weight).float()))
            return convolve(node, x, rounded(self.supernet, node, weight * per_row(slope, weight)), intercept).float()
        y = convolve(node, x, rounded(self.supernet, node, weight)).float()
        return self.batch_norm(node, y, gamma, bias)

    def batch_norm(self, node: Conv, y: Tensor, gamma: Tensor, bias: Tensor) -> Tensor:  # noqa: ARG002
        """Return the batch norm of a convolution's result."""
        return functional.batch_norm(y, None, None, gamma, bias, training=True, eps=BATCH_NORM_EPS)

    def statistics(self, node: Conv, y: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """Return mean and variance of each channel of a convolution's result.

        Torch's own statistics of a channels-last batch depend on the number of threads, these do not.
        """
        var, mean = torch.var_mean(y, dim=(0, 2, 3), correction=0)
        return mean, var

    def tensors(self, node: Node) -> tuple[Tensor, ...]:
        """See `ParameterSource`."""
        weight = rounded(self.supernet, node, self.supernet.weight(node))
        return (weight, self.supernet.bias(node)) if "bias" in node.spec_of else (weight,)

    def quantize(self, node: Quantize, x: Tensor) -> Tensor:
        """See `ParameterSource`."""
        scale, zero_point = self.scale(node, x)
        if zero_point is not None:
            return self.supernet.fake_quantize_rows(x, scale, -zero_point, node.format.n_levels - 1 - zero_point)
        if node.format.is_minifloat:
            return fake_quantize_minifloat(x, scale, node.format)
        return self.supernet.fake_quantize(x, scale, node.format.qmin, node.format.qmax)

    def scale(self, node: Quantize, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return scale and, if it is asymmetric, zero point of a tensor that is about to be quantized."""
        return activation_scale(self.supernet, node, x, remember=True)
