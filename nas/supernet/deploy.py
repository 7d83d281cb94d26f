"""Layers of one network as it is shipped: batch norms folded into weights, biases rounded."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from nas.quantizers.integers import dequantize, quantize
from nas.quantizers.minifloats import quantize_minifloat
from search_spaces.graph.node import Node
from search_spaces.operators.conv import Conv
from search_spaces.operators.norm import Normalize
from search_spaces.operators.quantize import Quantize


class DeployedLayers:
    """Layers of one network as shipped.

    Args:
        weights: As `Supernet.fold` gives them, or `extract` as tensors.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self.weights = weights

    def normalize(self, node: Normalize, x: Tensor) -> Tensor:
        """See `ParameterSource`."""
        mean, std = self.weights[f"{node.name}/mean"], self.weights[f"{node.name}/std"]
        return (x - mean.reshape(-1, 1, 1)) / std.reshape(-1, 1, 1)

    def conv(self, node: Conv, x: Tensor) -> Tensor:
        """See `ParameterSource`."""
        x = x.contiguous(memory_format=torch.channels_last)
        return convolve(node, x, *self.tensors(node))

    def tensors(self, node: Node) -> tuple[Tensor, ...]:
        """See `ParameterSource`; a tied weight is that of the operator that holds it."""
        specs = {spec.role: spec for spec in node.weights() if not spec.folded}
        name = f"{specs['weight'].shared_with or node.name}/weight"
        weight = self.weights[name]
        bias = (self.weights[f"{node.name}/bias"],) if "bias" in specs else ()
        if not node.precision.is_integer:
            return (weight, *bias)
        scale = self.weights[f"{name}_scale"]
        weight = dequantize(weight, per_row(scale, weight))
        if not bias:
            return (weight,)
        input_scale = self.weights[f"{node.inputs[0]}/scale"]
        return (weight, dequantize(bias[0], input_scale * scale.double()).float())

    def quantize(self, node: Quantize, x: Tensor) -> Tensor:
        """See `ParameterSource`."""
        scale = self.weights[f"{node.name}/scale"]
        if node.format.is_minifloat:
            return dequantize(quantize_minifloat(x, scale, node.format), scale)
        return dequantize(quantize(x, scale, *node.bounds(self.weights)), scale)


def convolve(node: Conv, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return a convolution with the settings of a node."""
    return functional.conv2d(x, weight, bias, node.stride, node.kernel // 2, groups=node.groups)


def per_row(values: Tensor, weight: Tensor) -> Tensor:
    """Return values of shape `(out,)` in the shape in which they broadcast against a weight of shape `(out, ...)`."""
    return values.reshape(-1, *[1] * (weight.ndim - 1))
