"""Supernet: shared weights for every network of a space; runs any graph of it, and cuts one out.

Elastic width takes the first channels, elastic kernel the centre of the largest one, elastic depth the first blocks. A
number format is elastic too: weights are rounded when used, at a scale recomputed from the active slice.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from nas.events import distributed
from nas.quantizers.integers import (
    ChooseScale,
    FakeQuantize,
    choose_scale,
    choose_scale_and_zero_point,
    fake_quantize,
    quantize,
    round_ste,
    scale_gradient,
)
from nas.quantizers.minifloats import choose_minifloat_scale, fake_quantize_minifloat
from nas.supernet.deploy import DeployedLayers, convolve, per_row
from nas.supernet.executor import execute
from nas.supernet.folding import BATCH_NORM_EPS, MAX_BIAS, batch_norm_line, fold_integers, nudge_scales
from search_spaces.graph.graph import Graph
from search_spaces.graph.node import Node, WeightSpec
from search_spaces.lowering import has_integer_weights
from search_spaces.operators.conv import Conv
from search_spaces.operators.elementwise import Relu
from search_spaces.operators.norm import Normalize
from search_spaces.operators.quantize import Quantize
from search_spaces.precision.formats import FLOAT32, INT8, NumberFormat
from search_spaces.precision.placement import place_quantizers
from search_spaces.space.space import SearchSpace

N_IMAGES_OF_INITIAL_SCALE = 16
N_VALUES_OF_INITIAL_SCALE = 200_000


@dataclass(eq=False)
class Calibration:
    """Statistics and scales of one subnet, beside the shared weights; see `nas.supernet.calibrate.calibrate`.

    Attributes:
        statistics: By name of a `Conv`: mean and variance of each channel before its batch norm, shapes `(channels,)`.
        scales: By name of a `Quantize`: its scale, shape `()`.
        zero_points: By name of an asymmetric `Quantize`: what stands for zero, shape `()`.
    """

    statistics: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    scales: dict[str, Tensor] = field(default_factory=dict)
    zero_points: dict[str, Tensor] = field(default_factory=dict)


class Supernet(nn.Module):
    """The shared weights of a space.

    Args:
        space: Its blocks say which weights there are, and how large at most.
        generator: Source of the initial weights; None takes a new one with seed 0.

    Attributes:
        fake_quantize: Rounds activations; `nas.quantizers.compiled` has a faster one.
        choose_scale: Chooses scales, of weights anew for every slice; also there.
    """

    scale_is_set: Tensor
    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, space: SearchSpace, generator: torch.Generator | None = None) -> None:
        super().__init__()
        generator = generator or torch.Generator().manual_seed(0)
        self.space = space
        self.fake_quantize: FakeQuantize = fake_quantize
        self.choose_scale: ChooseScale = choose_scale
        specs, scales, multipliers = _inventory(space)
        self.shared = nn.ParameterDict()
        for name, spec in specs.items():
            self.shared[name] = nn.Parameter(_initial(spec, generator))
        self.scale_index = {key: i for i, key in enumerate(scales)}
        self.multiplier_index = {key: i for i, key in enumerate(multipliers)}
        self.log_scales = nn.Parameter(torch.zeros(len(scales)))
        self.log_multipliers = nn.Parameter(torch.zeros(len(multipliers)))
        if any(number_format.asymmetric for _, number_format in scales):
            self.zero_shares = nn.Parameter(torch.full((len(scales),), 0.5))  # zero points over the greatest integer
        self.register_buffer("scale_is_set", torch.zeros(len(scales), dtype=torch.bool))
        self.register_buffer("pixel_mean", torch.zeros(1))
        self.register_buffer("pixel_std", torch.ones(1))

    @property
    def device(self) -> torch.device:
        """The device that holds the weights."""
        return self.log_scales.device

    def set_pixel_statistics(self, mean: NDArray[np.float32], std: NDArray[np.float32]) -> None:
        """Store mean and standard deviation of raw pixels, each of shape `(channels,)`."""
        self.pixel_mean, self.pixel_std = (torch.tensor(values, device=self.device) for values in (mean, std))

    def forward(self, images: Tensor, graph: Graph, calibration: Calibration | None = None) -> Tensor:
        """Run one network of the space.

        Args:
            images: Shape `(n, *graph.input_shape)`, raw pixels.
            graph: Of this space.
            calibration: None: batch norms use the statistics of this batch, as in training. Otherwise the network is run
                as it would be shipped, batch norms folded and biases rounded.

        Returns:
            Logits, shape `(n, n_classes)`.
        """
        if calibration is None:
            return execute(graph, images, SharedLayers(self))
        return execute(graph, images, DeployedLayers(self.fold(graph, calibration)))

    def extract(self, graph: Graph, calibration: Calibration) -> dict[str, NDArray[Any]]:
        """Cut a network out: return the weights that `search_spaces.lower` takes, integers as int8 and int32."""
        arrays = {}
        for name, tensor in self.fold(graph, calibration).items():
            owner, _, kind = name.rpartition("/")
            array = tensor.detach().cpu().numpy().copy()
            if has_integer_weights(graph[owner]) and kind in ("weight", "bias"):
                array = array.astype(np.int8 if kind == "weight" else np.int32)
            elif kind == "zero_point":
                array = array.astype(np.uint8)
            arrays[name] = array
        return arrays

    @torch.no_grad()
    def fold(self, graph: Graph, calibration: Calibration) -> dict[str, Tensor]:
        """Return the network's weights under the names of `search_spaces.lower`, integers held as floats."""
        folded: dict[str, Tensor] = {}
        quantizers = _quantizers_behind_layers(graph)
        for node in graph.nodes:
            if isinstance(node, Quantize):
                folded[f"{node.name}/scale"] = calibration.scales[node.name]
                if node.format.asymmetric:
                    folded[f"{node.name}/zero_point"] = calibration.zero_points[node.name]
            elif isinstance(node, Normalize):
                folded[f"{node.name}/mean"], folded[f"{node.name}/std"] = self.pixel_mean, self.pixel_std
            elif roles := {spec.role for spec in node.weights() if not spec.shared_with}:
                fold = self._fold_layer if "bias" in roles else self._fold_table
                folded |= fold(node, calibration, quantizers.get(node.name))
        return folded

    def _fold_table(self, node: Node, calibration: Calibration, quantizer: Quantize | None) -> dict[str, Tensor]:  # noqa: ARG002
        """Fold an operator that has a weight and no bias."""
        weight = self.weight(node)
        if not node.precision.is_integer:
            return {f"{node.name}/weight": self.rounded(node, weight)}
        scale, qmax = self.weight_scale(node, weight), node.precision.weights.qmax
        integers = quantize(weight, per_row(scale, weight), -qmax, qmax)
        return {f"{node.name}/weight": integers, f"{node.name}/weight_scale": scale}

    def _fold_layer(self, node: Node, calibration: Calibration, quantizer: Quantize | None) -> dict[str, Tensor]:
        weight, bias = self.weight(node), self.bias(node)
        slope, intercept = torch.ones_like(bias), bias
        if isinstance(node, Conv) and node.batch_norm:
            slope, intercept = batch_norm_line(self.gamma(node), bias, *calibration.statistics[node.name])
        if not node.precision.is_integer:
            weight = self.rounded(node, weight) * per_row(slope, weight)
            return {f"{node.name}/weight": weight, f"{node.name}/bias": intercept}
        input_scale = calibration.scales[node.inputs[0]]
        if not node.precision.per_channel:
            weight, slope = weight * per_row(slope, weight), torch.ones_like(slope)
        scale = self.weight_scale(node, weight)
        if not node.precision.per_channel:
            scale = scale.clamp(min=float(intercept.abs().max() / (MAX_BIAS / 2 * input_scale)))
        high = node.precision.weights.qmax
        integers = quantize(weight, per_row(scale, weight), -high, high)
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

    # ------------------------------------------------------------------ the active slice

    def weight(self, node: Node) -> Tensor:
        """Return the shared weight cut to that of the node: the first of each axis, the centre of a kernel."""
        spec = next(spec for spec in node.weights() if spec.role == "weight")
        shared: Tensor = self.shared[f"{spec.shared_with or node.name}/weight"]
        for axis, (kind, length) in enumerate(zip(spec.axes, spec.shape, strict=True)):
            start = (shared.shape[axis] - length) // 2 if kind == "kernel" else 0
            shared = shared.narrow(axis, start, length)
        return shared

    def bias(self, node: Node) -> Tensor:
        """Return the bias (of a `Conv`: that of its batch norm), shape `(out,)`."""
        bias: Tensor = self.shared[f"{node.name}/bias"][: node.shape[0]]
        return bias

    def gamma(self, node: Conv) -> Tensor:
        """Return the factor of the batch norm, shape `(out,)`."""
        gamma: Tensor = self.shared[f"{node.name}/gamma"][: node.shape[0]]
        return gamma

    def weight_scale(self, node: Node, weight: Tensor) -> Tensor:
        """Return the scale of a weight, shape `(out,)`: the best for this slice times a learned multiplier."""
        number_format = node.precision.weights
        rows = weight.flatten(1) if node.precision.per_channel else weight.reshape(1, -1)
        scale = self._best_scale(rows, number_format)
        index = self.multiplier_index[node.name, number_format, node.precision.per_channel]
        dampening = 1 / math.sqrt(weight.numel() * number_format.max_value)
        return (scale * scale_gradient(self.log_multipliers[index].exp(), dampening)).expand(len(weight))

    def rounded(self, node: Node, weight: Tensor) -> Tensor:
        """Return a weight fake-quantized in the format of its block."""
        number_format = node.precision.weights
        if number_format.is_float32:
            return weight
        scale = per_row(self.weight_scale(node, weight), weight)
        if number_format.is_minifloat:
            return fake_quantize_minifloat(weight, scale, number_format)
        return fake_quantize(weight, scale, -number_format.qmax, number_format.qmax)

    def activation_scale(self, node: Quantize, values: Tensor, *, remember: bool) -> tuple[Tensor, Tensor | None]:
        """Return the learned scale of an activation and, if it is asymmetric, its zero point, both of shape `()`.

        What was never used before is taken from `values`.

        Args:
            node: The quantizer.
            values: What it is about to quantize, shape `(n, ...)`.
            remember: Whether a new scale is stored, to be learned from there.
        """
        index = self.scale_index[node.name, node.format]
        if not self.scale_is_set[index]:
            first = self._initial_scale(node, values.detach()[:N_IMAGES_OF_INITIAL_SCALE])
            first = distributed.all_reduce(first) / distributed.world_size()
            if not remember:
                return first[0], first[1].round() if node.format.asymmetric else None
            with torch.no_grad():
                self.log_scales[index] = first[0].log()
                self.scale_is_set[index] = True
                if node.format.asymmetric:
                    self.zero_shares[index] = first[1] / (node.format.n_levels - 1)
        dampening = 1 / math.sqrt(values[0].numel() * node.format.max_value)
        scale = scale_gradient(self.log_scales[index].exp(), dampening)
        if not node.format.asymmetric:
            return scale, None
        zero_point = scale_gradient(self.zero_shares[index], dampening) * (node.format.n_levels - 1)
        return scale, round_ste(zero_point, 0, node.format.n_levels - 1)

    def _initial_scale(self, node: Quantize, values: Tensor) -> Tensor:
        """Return the best scale and zero point for some values, or evenly taken ones where they are many; shape `(2,)`."""
        values = values.flatten()[:: 1 + values.numel() // N_VALUES_OF_INITIAL_SCALE]
        if node.format.asymmetric:
            return torch.stack(choose_scale_and_zero_point(values, node.format.n_levels - 1))
        rows = values[None] if node.format.signed else values[None].relu()
        scale = self._best_scale(rows, node.format)
        return torch.cat([scale, torch.zeros_like(scale)])

    def _best_scale(self, rows: Tensor, number_format: NumberFormat) -> Tensor:
        """Return a scale for each row of shape `(rows, n)`."""
        if number_format.is_minifloat:
            return choose_minifloat_scale(rows, number_format)
        return self.choose_scale(rows, number_format.qmax)


class SharedLayers:
    """Layers of a subnet on the shared weights, batch norms on the statistics of the batch.

    Args:
        supernet: Owner of the weights.
        calibration: Where to record statistics and scales; None while training.
    """

    def __init__(self, supernet: Supernet, calibration: Calibration | None = None) -> None:
        self.supernet = supernet
        self.calibration = calibration

    def normalize(self, node: Normalize, x: Tensor) -> Tensor:  # noqa: ARG002
        """See `ParameterSource`."""
        return (x - self.supernet.pixel_mean.reshape(-1, 1, 1)) / self.supernet.pixel_std.reshape(-1, 1, 1)

    def conv(self, node: Conv, x: Tensor) -> Tensor:
        """See `ParameterSource`. Channels last: depthwise gradients are three times faster so on a CPU."""
        x = x.contiguous(memory_format=torch.channels_last)
        weight, bias = self.supernet.weight(node), self.supernet.bias(node)
        if not node.batch_norm:
            return convolve(node, x, self.supernet.rounded(node, weight), bias).float()
        gamma = self.supernet.gamma(node)
        if not node.precision.per_channel:
            # One scale for the whole weight is a scale of the weight that is shipped: with the batch norm folded in.
            slope, intercept = batch_norm_line(gamma, bias, *self._statistics(node, convolve(node, x, weight).float()))
            return convolve(node, x, self.supernet.rounded(node, weight * per_row(slope, weight)), intercept).float()
        y = convolve(node, x, self.supernet.rounded(node, weight)).float()
        if self.calibration is None:
            return functional.batch_norm(y, None, None, gamma, bias, training=True, eps=BATCH_NORM_EPS)
        return functional.batch_norm(y, *self._statistics(node, y), gamma, bias, eps=BATCH_NORM_EPS)

    def tensors(self, node: Node) -> tuple[Tensor, ...]:
        """See `ParameterSource`."""
        weight = self.supernet.rounded(node, self.supernet.weight(node))
        has_bias = any(spec.role == "bias" for spec in node.weights())
        return (weight, self.supernet.bias(node)) if has_bias else (weight,)

    def quantize(self, node: Quantize, x: Tensor) -> Tensor:
        """See `ParameterSource`."""
        scale, zero_point = self.supernet.activation_scale(node, x, remember=self.calibration is None)
        if self.calibration is not None:
            scale = self.calibration.scales.setdefault(node.name, scale.detach())
            if zero_point is not None:
                zero_point = self.calibration.zero_points.setdefault(node.name, zero_point.detach().round())
        if zero_point is not None:
            return fake_quantize(x, scale, -zero_point, node.format.n_levels - 1 - zero_point)
        if node.format.is_minifloat:
            return fake_quantize_minifloat(x, scale, node.format)
        return self.supernet.fake_quantize(x, scale, node.format.qmin, node.format.qmax)

    def _statistics(self, node: Conv, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance of each channel of a batch, and record them while calibrating.

        Torch's own statistics of a channels-last batch depend on the number of threads, these do not.
        """
        var, mean = torch.var_mean(y, dim=(0, 2, 3), correction=0 if self.calibration is None else 1)
        if self.calibration is not None:
            self.calibration.statistics[node.name] = (mean, var)
        return mean, var


def _quantizers_behind_layers(graph: Graph) -> dict[str, Quantize]:
    """Return what quantizes the result of a layer, directly or behind a ReLU, by the layer's name."""
    quantizers = {}
    for node in graph.nodes:
        if isinstance(node, Quantize):
            source = graph[node.inputs[0]]
            quantizers[source.inputs[0] if isinstance(source, Relu) else source.name] = node
    return quantizers


class _Inventory(NamedTuple):
    """Everything to learn in a space: the largest of each tensor by `NODE/ROLE`, scales and multipliers."""

    specs: dict[str, WeightSpec]
    scales: list[tuple[str, NumberFormat]]
    multipliers: list[tuple[str, NumberFormat, bool]]


def _inventory(space: SearchSpace) -> _Inventory:
    specs: dict[str, dict[str, WeightSpec]] = {}
    scales: dict[tuple[str, NumberFormat], None] = {}
    multipliers: dict[tuple[str, NumberFormat, bool], None] = {}
    for block in space.distinct_blocks():
        for node in (node for source in (FLOAT32, INT8) for node in place_quantizers(block, source)):
            if isinstance(node, Quantize):
                scales[node.name, node.format] = None
                continue
            for spec in (spec for spec in node.weights() if spec.init != "given" and not spec.shared_with):
                own = specs.setdefault(node.name, {})
                known = own.get(spec.role, spec).shape
                own[spec.role] = replace(spec, shape=tuple(map(max, known, spec.shape)))
                if spec.quantized and not node.precision.is_float32:
                    multipliers[node.name, node.precision.weights, node.precision.per_channel] = None
    named = {f"{name}/{role}": spec for name, own in specs.items() for role, spec in own.items()}
    return _Inventory(named, list(scales), list(multipliers))


def _initial(spec: WeightSpec, generator: torch.Generator) -> Tensor:
    """Return a new tensor to be trained."""
    if spec.init == "normal":
        return torch.randn(spec.shape, generator=generator) * math.sqrt(2 / math.prod(spec.shape[1:]))
    return torch.ones(spec.shape) if spec.init == "ones" else torch.zeros(spec.shape)
