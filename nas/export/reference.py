"""What operators must give, computed from their definition in NumPy, independently of torch and onnxruntime.

Integers: sums are exact (float64 holds every product and sum of 8-bit integers); one float32 multiplication follows, then
rounding half to even and saturation. Floats: everything in float64.
"""

from collections.abc import Mapping, Sequence
from functools import singledispatch
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from search_spaces.graph import (
    Add,
    Conv,
    GlobalAveragePool,
    Linear,
    Node,
    Normalize,
    NumberFormat,
    Output,
    Quantize,
    Relu,
)

Weights = Mapping[str, NDArray[Any]]
Integers = NDArray[np.int64]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


def weighted_sums(node: Conv | Linear, x: NDArray[Any], weights: Weights) -> Doubles:
    """Return the sums of a convolution or linear layer, bias included; exact on integers around zero.

    Args:
        node: The layer.
        x: Shape `(n, channels, height, width)`.
        weights: Of the network, see `search_spaces.lower`.

    Returns:
        Shape `(n, out, height, width)`, or `(n, out)` of a linear layer.
    """
    weight, bias = (weights[f"{node.name}/{kind}"].astype(np.float64) for kind in ("weight", "bias"))
    if isinstance(node, Linear):
        answers: Doubles = x.reshape(len(x), -1).astype(np.float64) @ weight.T + bias
        return answers
    margin = node.kernel // 2
    padded = np.pad(x.astype(np.float64), [(0, 0), (0, 0), (margin, margin), (margin, margin)])
    windows = sliding_window_view(padded, (node.kernel, node.kernel), axis=(2, 3))[:, :, :: node.stride, :: node.stride]
    n, channels, height, width = windows.shape[:4]
    grouped = windows.reshape(n, node.groups, channels // node.groups, height, width, node.kernel, node.kernel)
    filters = weight.reshape(node.groups, -1, *weight.shape[1:])
    sums = np.einsum("ngchwkl,gockl->ngohw", grouped, filters, optimize=True)
    result: Doubles = sums.reshape(n, -1, height, width) + bias[:, None, None]
    return result


def integer_conv(node: Conv, x: Integers, input_scale: float, output: Quantize, weights: Weights) -> Floats:
    """Return a convolution in units of the output step, before it is rounded; a ReLU is part of the saturation at 0."""
    scale_in, scale_out = np.float32(input_scale), np.float32(weights[f"{output.name}/scale"])
    multiplier = (scale_in * weights[f"{node.name}/weight_scale"].astype(np.float32)) / scale_out
    return weighted_sums(node, x, weights).astype(np.float32) * multiplier[:, None, None]


def integer_linear(node: Linear, x: Integers, input_scale: float, weights: Weights) -> Floats:
    """Return the float32 answers of a linear layer on integers, shape `(n, out)`."""
    scale = np.float32(input_scale) * weights[f"{node.name}/weight_scale"].astype(np.float32)
    return weighted_sums(node, x, weights).astype(np.float32) * scale


def integer_add(tensors: Sequence[Integers], inputs: Sequence[Quantize], output: Quantize, weights: Weights) -> Floats:
    """Return an addition of two tensors with scales of their own in units of the output step, before it is rounded.

    Every order of the float32 operations is right, and runtimes differ in it; this is the order of onnxruntime's kernel for
    x86 with AVX2: zero points first, then second and first tensor by fused multiplication and addition.
    """
    scale_out = np.float32(weights[f"{output.name}/scale"])
    ratios = [np.float32(weights[f"{quantizer.name}/scale"]) / scale_out for quantizer in inputs]
    zeros = [quantizer.format.zero_point for quantizer in inputs]
    zero_out = np.float32(output.format.zero_point)
    fixed = zero_out - (ratios[0] * np.float32(zeros[0]) + ratios[1] * np.float32(zeros[1]))
    total = np.full(tensors[0].shape, fixed, np.float32)
    for tensor, ratio, zero in reversed(list(zip(tensors, ratios, zeros, strict=True))):
        exact = (tensor + zero).astype(np.float64) * np.float64(ratio) + total
        total = exact.astype(np.float32)
    return total - zero_out


def integer_global_average_pool(x: Integers, input_scale: float, output: Quantize, weights: Weights) -> Floats:
    """Return a mean over height and width in units of the output step, before it is rounded."""
    n_pixels = np.float32(x.shape[2] * x.shape[3])
    multiplier = np.float32(input_scale) / (np.float32(weights[f"{output.name}/scale"]) * n_pixels)
    mean: Floats = x.sum(axis=(2, 3), keepdims=True).astype(np.float32) * multiplier
    return mean


@singledispatch
def in_floats(node: Node, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
    """Return what a float32 operator must give, computed in float64."""
    raise TypeError(f"no reference for {type(node).__name__}")


@in_floats.register(Conv)
@in_floats.register(Linear)
def _(node: Conv | Linear, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
    return weighted_sums(node, inputs[0], weights)


@in_floats.register
def _(node: Normalize, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
    mean, std = (weights[f"{node.name}/{kind}"].astype(np.float64).reshape(-1, 1, 1) for kind in ("mean", "std"))
    return (inputs[0] - mean) / std


@in_floats.register
def _(node: Relu, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
    return np.maximum(inputs[0], 0)


@in_floats.register
def _(node: Add, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
    return inputs[0] + inputs[1]


@in_floats.register
def _(node: GlobalAveragePool, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
    mean: Doubles = inputs[0].mean(axis=(2, 3), keepdims=True)
    return mean


@in_floats.register
def _(node: Output, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
    return inputs[0]


def saturate(values: Floats | Doubles, number_format: NumberFormat) -> Integers:
    """Round half to even and saturate to the integers of a format, around zero."""
    return np.clip(np.rint(values), number_format.low, number_format.high).astype(np.int64)
