"""Deployed subnets: batch norms folded into weights, biases rounded."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.quantizers.groups import dequantize_groups
from nas.quantizers.integers import dequantize, quantize
from nas.quantizers.minifloats import quantize_minifloat
from nas.supernet.calibrate import Calibration
from nas.supernet.folding import MAX_BIAS, batch_norm_line, fold_integers, nudge_scales, per_row
from nas.supernet.ops.conv import convolve
from nas.supernet.scales import rounded, weight_scale
from nas.supernet.supernet import Supernet
from search_spaces.graph.graph import Graph
from search_spaces.graph.node import Node
from search_spaces.lowering import has_integer_weights
from search_spaces.operators.conv import Conv
from search_spaces.operators.norm import Normalize
from search_spaces.operators.quantize import Quantize, quantizers


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
        if not has_integer_weights(node):
            return (weight, *bias)
        scale = self.weights[f"{name}_scale"]
        if node.precision.is_grouped:
            return (dequantize_groups(weight, scale), *bias)
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


def extract(supernet: Supernet, graph: Graph, calibration: Calibration) -> dict[str, NDArray[Any]]:
    """Cut a network out: return the weights that `search_spaces.lower` takes, integers as int8 and int32."""
    arrays = {}
    for name, tensor in fold(supernet, graph, calibration).items():
        owner, _, kind = name.rpartition("/")
        array = tensor.detach().cpu().numpy().copy()
        if kind == "weight" and has_integer_weights(graph[owner]):
            array = array.astype(np.int8)
        elif kind == "bias" and has_integer_weights(graph[owner]):
            array = array.astype(np.int32)
        elif kind == "zero_point":
            array = array.astype(np.uint8)
        arrays[name] = array
    return arrays


@torch.no_grad()
def fold(supernet: Supernet, graph: Graph, calibration: Calibration) -> dict[str, Tensor]:
    """Return the network's weights under the names of `search_spaces.lower`, integers held as floats."""
    folded: dict[str, Tensor] = {}
    behind = _quantizers_behind_layers(graph)
    for each in quantizers(graph.nodes):
        folded[f"{each.name}/scale"] = calibration.scales[each.name]
        if each.format.asymmetric:
            folded[f"{each.name}/zero_point"] = calibration.zero_points[each.name]
    for node in graph.nodes:
        if isinstance(node, Normalize):
            folded[f"{node.name}/mean"], folded[f"{node.name}/std"] = supernet.pixel_mean, supernet.pixel_std
        elif roles := {spec.role for spec in node.weights() if not spec.shared_with and spec.init != "given"}:
            quantizer = behind.get(node.name)
            has_bias = "bias" in roles
            folded |= _fold_layer(supernet, node, calibration, quantizer) if has_bias else _fold_table(supernet, node)
    return folded


def _fold_table(supernet: Supernet, node: Node) -> dict[str, Tensor]:
    """Fold an operator that has a weight and no bias."""
    weight = supernet.weight(node)
    if not has_integer_weights(node):
        return {f"{node.name}/weight": rounded(supernet, node, weight)}
    if node.precision.is_grouped:
        return supernet.groups.get(node)
    scale, qmax = weight_scale(supernet, node, weight), node.precision.weights.qmax
    integers = quantize(weight, per_row(scale, weight), -qmax, qmax)
    return {f"{node.name}/weight": integers, f"{node.name}/weight_scale": scale}


def _fold_layer(supernet: Supernet, node: Node, calibration: Calibration, quantizer: Quantize | None) -> dict[str, Tensor]:
    weight, bias = supernet.weight(node), supernet.bias(node)
    slope, intercept = torch.ones_like(bias), bias
    if isinstance(node, Conv) and node.batch_norm:
        slope, intercept = batch_norm_line(supernet.gamma(node), bias, *calibration.statistics[node.name])
    if not node.precision.is_static:
        weight = rounded(supernet, node, weight) * per_row(slope, weight)
        return {f"{node.name}/weight": weight, f"{node.name}/bias": intercept}
    input_scale = calibration.scales[node.inputs[0]]
    if not node.precision.per_channel:
        weight, slope = weight * per_row(slope, weight), torch.ones_like(slope)
    scale = weight_scale(supernet, node, weight)
    if not node.precision.per_channel:
        scale = scale.clamp(min=float(intercept.abs().max() / (MAX_BIAS / 2 * input_scale)))
    qmax = node.precision.weights.qmax
    integers = quantize(weight, per_row(scale, weight), -qmax, qmax)
    integers, scale, bias = fold_integers(integers, scale, slope, intercept, input_scale)
    if quantizer and quantizer.format.is_integer and node.precision.is_sub8bit:
        output = quantizer.format
        max_integer = output.n_levels - 1 if output.asymmetric else max(output.qmax, -output.qmin)
        scale = nudge_scales(scale, input_scale, calibration.scales[quantizer.name], max_integer)
    return {
        f"{node.name}/weight": integers.float(),
        f"{node.name}/weight_scale": scale.float(),
        f"{node.name}/bias": bias,
    }


def _quantizers_behind_layers(graph: Graph) -> dict[str, Quantize]:
    """Return what quantizes the result of a layer, directly or behind a ReLU, by the layer's name."""
    quantizers = {}
    for node in graph.nodes:
        if isinstance(node, Quantize):
            source = graph[node.inputs[0]]
            quantizers[source.inputs[0] if source.is_fused else source.name] = node
    return quantizers
