"""NumPy reference of operators, computed from their definition, independently of torch and onnxruntime.

Integers: sums are exact (float64 holds every product and sum of 8-bit integers); one float32 multiplication follows, then
rounding half to even and saturation. Floats: everything in float64.
"""

from collections.abc import Sequence
from functools import singledispatch
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from search_spaces.graph.node import Node
from search_spaces.lowering import Weights, bounds, zero_point_of
from search_spaces.operators.attention import AttentionScores, AttentionValues, Softmax
from search_spaces.operators.conv import Conv
from search_spaces.operators.elementwise import Add, HardSigmoid, HardSwish, Multiply, Relu
from search_spaces.operators.ends import Output
from search_spaces.operators.linear import Linear
from search_spaces.operators.norm import Normalize
from search_spaces.operators.pool import GlobalAveragePool
from search_spaces.operators.quantize import Quantize
from search_spaces.operators.resize import Resize

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
        predictions: Doubles = x.reshape(len(x), -1).astype(np.float64) @ weight.T + bias
        return predictions
    margin = node.kernel // 2
    padded = np.pad(x.astype(np.float64), [(0, 0), (0, 0), (margin, margin), (margin, margin)])
    windows = sliding_window_view(padded, (node.kernel, node.kernel), axis=(2, 3))[:, :, :: node.stride, :: node.stride]
    n, channels, height, width = windows.shape[:4]
    grouped = windows.reshape(n, node.groups, channels // node.groups, height, width, node.kernel, node.kernel)
    filters = weight.reshape(node.groups, -1, *weight.shape[1:])
    checksums = np.einsum("ngchwkl,gockl->ngohw", grouped, filters, optimize=True)
    result: Doubles = checksums.reshape(n, -1, height, width) + bias[:, None, None]
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


def integer_multiply(tensors: Sequence[Integers], scales: Sequence[float], output: Quantize, weights: Weights) -> Floats:
    """Return a product of two tensors in units of the output step, before it is rounded."""
    multiplier = np.float32(scales[0]) * np.float32(scales[1]) / np.float32(weights[f"{output.name}/scale"])
    return (tensors[0] * tensors[1]).astype(np.float32) * multiplier


def integer_attention(
    node: AttentionScores | AttentionValues,
    tensors: Sequence[Integers],
    scales: Sequence[float],
    output: Quantize,
    weights: Weights,
) -> Floats:
    """Return scores or means of attention in units of the output step, before they are rounded."""
    multiplier = np.float32(scales[0]) * np.float32(scales[1]) / np.float32(weights[f"{output.name}/scale"])
    return _attention(node, tensors).astype(np.float32) * multiplier


def _attention(node: AttentionScores | AttentionValues, tensors: Sequence[NDArray[Any]]) -> Doubles:
    """Return the sums of products; exact on integers."""
    first, second = (tensor.astype(np.float64) for tensor in tensors)
    if isinstance(node, AttentionScores):
        queries, keys = (x.reshape(len(x), node.shape[0], node.depth, -1) for x in (first, second))
        scores: Doubles = np.einsum("nhdi,nhdj->nhij", queries, keys)
        return scores
    values = second.reshape(len(second), first.shape[1], -1, first.shape[-1])
    means: Doubles = np.einsum("nhij,nhdj->nhdi", first, values).reshape(second.shape)
    return means


def integer_add(tensors: Sequence[Integers], inputs: Sequence[Quantize], output: Quantize, weights: Weights) -> Floats:
    """Return an addition of two tensors with scales of their own in units of the output step, before it is rounded.

    Every order of the float32 operations is right, and runtimes differ in it; this is the order of onnxruntime's kernel for
    x86 with AVX2: zero points first, then second and first tensor by fused multiplication and addition.
    """
    scale_out = np.float32(weights[f"{output.name}/scale"])
    ratios = [np.float32(weights[f"{quantizer.name}/scale"]) / scale_out for quantizer in inputs]
    zeros = [zero_point_of(quantizer, weights) for quantizer in inputs]
    zero_out = np.float32(zero_point_of(output, weights))
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
def _(node: HardSigmoid, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
    gate: Doubles = np.clip(inputs[0] / 6 + 0.5, 0, 1)
    return gate


@in_floats.register
def _(node: HardSwish, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
    result: Doubles = inputs[0] * np.clip(inputs[0] / 6 + 0.5, 0, 1)
    return result


@in_floats.register
def _(node: Multiply, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
    return inputs[0] * inputs[1]


@in_floats.register
def _(node: Softmax, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
    powers = np.exp(node.factor * (inputs[0] - inputs[0].max(axis=-1, keepdims=True)))
    result: Doubles = powers / powers.sum(axis=-1, keepdims=True)
    return result


@in_floats.register(AttentionScores)
@in_floats.register(AttentionValues)
def _(node: AttentionScores | AttentionValues, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
    return _attention(node, inputs)


@in_floats.register
def _(node: Resize, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
    resized = inputs[0]
    for axis, length in ((2, node.shape[1]), (3, node.shape[2])):
        last = resized.shape[axis] - 1
        position = np.clip((np.arange(length) + 0.5) * ((last + 1) / length) - 0.5, 0, last)
        low = np.floor(position).astype(int)
        share = (position - low).reshape(-1, *[1] * (3 - axis))
        resized = resized.take(low, axis) * (1 - share) + resized.take(np.minimum(low + 1, last), axis) * share
    return resized


@in_floats.register
def _(node: Output, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
    return inputs[0]


def saturate(values: Floats | Doubles, quantizer: Quantize, weights: Weights) -> Integers:
    """Round half to even and saturate to the integers of a quantized tensor, around zero."""
    return np.clip(np.rint(values), *bounds(quantizer, weights)).astype(np.int64)
