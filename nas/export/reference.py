"""What integer operators must give, computed from their definition in NumPy, independently of torch and onnxruntime.

Sums are exact (float64 holds every product and sum of 8-bit integers); one float32 multiplication follows, then rounding
half to even and saturation.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from search_spaces.graph import INT8, Conv, Linear, NumberFormat, Quantize

Weights = Mapping[str, NDArray[Any]]
Integers = NDArray[np.int64]
Floats = NDArray[np.float32]


def conv_sums(node: Conv | Linear, x: Integers, weights: Weights) -> Integers:
    """Return the integer sums of a convolution or linear layer, bias included.

    Args:
        node: The layer.
        x: Integers around zero (zero point taken off), shape `(n, channels, height, width)`.
        weights: Of the network, see `search_spaces.lower`.

    Returns:
        Shape `(n, out, height, width)`, or `(n, out)` of a linear layer.
    """
    weight = weights[f"{node.name}/weight"].astype(np.float64)
    bias = weights[f"{node.name}/bias"].astype(np.int64)
    if isinstance(node, Linear):
        return (x.reshape(len(x), -1).astype(np.float64) @ weight.T).astype(np.int64) + bias
    margin = node.kernel // 2
    padded = np.pad(x.astype(np.float64), [(0, 0), (0, 0), (margin, margin), (margin, margin)])
    windows = sliding_window_view(padded, (node.kernel, node.kernel), axis=(2, 3))[:, :, :: node.stride, :: node.stride]
    n, channels, height, width = windows.shape[:4]
    grouped = windows.reshape(n, node.groups, channels // node.groups, height, width, node.kernel, node.kernel)
    filters = weight.reshape(node.groups, -1, *weight.shape[1:])
    sums = np.einsum("ngchwkl,gockl->ngohw", grouped, filters, optimize=True).astype(np.int64)
    result: Integers = sums.reshape(n, -1, height, width) + bias[:, None, None]
    return result


def conv(node: Conv, x: Integers, input_scale: float, output: Quantize, weights: Weights) -> Floats:
    """Return a convolution in units of the output step, before it is rounded; a ReLU is part of the saturation at 0."""
    scale_in, scale_out = np.float32(input_scale), np.float32(weights[f"{output.name}/scale"])
    multiplier = (scale_in * weights[f"{node.name}/weight_scale"].astype(np.float32)) / scale_out
    return conv_sums(node, x, weights).astype(np.float32) * multiplier[:, None, None]


def linear(node: Linear, x: Integers, input_scale: float, weights: Weights) -> Floats:
    """Return the float32 answers of a linear layer on integers, shape `(n, out)`."""
    scale = np.float32(input_scale) * weights[f"{node.name}/weight_scale"].astype(np.float32)
    return conv_sums(node, x, weights).astype(np.float32) * scale


def add(tensors: Sequence[Integers], scales: Sequence[float], output: Quantize, weights: Weights) -> Floats:
    """Return an addition of two tensors with scales of their own in units of the output step, before it is rounded.

    Every order of the float32 operations is right, and runtimes differ in it; this is the order of onnxruntime's kernel for
    x86 with AVX2: zero points first, then second and first tensor by fused multiplication and addition.
    """
    scale_out = np.float32(weights[f"{output.name}/scale"])
    ratios = [np.float32(scale) / scale_out for scale in scales]
    zeros = [np.float32(INT8.zero_point)] * 2
    zero_out = np.float32(output.format.zero_point)
    total = np.full(tensors[0].shape, zero_out - (ratios[0] * zeros[0] + ratios[1] * zeros[1]), np.float32)
    for tensor, ratio, zero in reversed(list(zip(tensors, ratios, zeros, strict=True))):
        exact = (tensor + int(zero)).astype(np.float64) * np.float64(ratio) + total
        total = exact.astype(np.float32)
    return total - zero_out


def global_average_pool(x: Integers, input_scale: float, output: Quantize, weights: Weights) -> Floats:
    """Return a mean over height and width in units of the output step, before it is rounded."""
    n_pixels = np.float32(x.shape[2] * x.shape[3])
    multiplier = np.float32(input_scale) / (np.float32(weights[f"{output.name}/scale"]) * n_pixels)
    mean: Floats = x.sum(axis=(2, 3), keepdims=True).astype(np.float32) * multiplier
    return mean


def saturate(values: Floats, number_format: NumberFormat) -> Integers:
    """Round half to even and saturate to the integers of a format, around zero."""
    return np.clip(np.rint(values), number_format.low, number_format.high).astype(np.int64)
