"""Supernet: shared weights for every network of a space; runs any graph of it, and cuts one out.

Elastic width takes the first channels, elastic kernel the centre of the largest one, elastic depth the first blocks. A
number format is elastic too: weights are rounded when used, at a scale recomputed from the active slice.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from nas import processes
from nas.operators import run
from nas.quant.folding import BATCH_NORM_EPS, batch_norm_line, fold_integers
from nas.quant.integers import ChooseScale, FakeQuantize, choose_scale, dequantize, fake_quantize, quantize, scale_gradient
from search_spaces.architecture import Architecture
from search_spaces.graph import FLOAT32, INT8, Conv, Graph, Linear, Node, Normalize, Quantize
from search_spaces.quantization import place_quantizers
from search_spaces.space import SearchSpace

WeightedNode = Conv | Linear

N_IMAGES_OF_FIRST_STEP = 16


@dataclass(eq=False)
class Calibration:
    """What a subnet needs beside the shared weights; see `nas.calibration.calibrate`.

    Attributes:
        statistics: By name of a `Conv`: mean and variance of each channel before its batch norm, shapes `(channels,)`.
        steps: By name of a `Quantize`: its scale, shape `()`.
    """

    statistics: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    steps: dict[str, Tensor] = field(default_factory=dict)


class Supernet(nn.Module):
    """The shared weights of a space.

    Args:
        space: Its blocks say which weights there are, and how large at most.
        generator: Source of the initial weights; None takes a new one with seed 0.

    Attributes:
        fake_quantize: Rounds activations; `nas.quant.compiled` has a faster one.
        choose_scale: Chooses scales, of weights anew for every slice; also there.
    """

    step_is_set: Tensor
    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, space: SearchSpace, generator: torch.Generator | None = None) -> None:
        super().__init__()
        generator = generator or torch.Generator().manual_seed(0)
        self.space = space
        self.fake_quantize: FakeQuantize = fake_quantize
        self.choose_scale: ChooseScale = choose_scale
        shapes, steps, multipliers = _inventory(space)
        self.shared = nn.ParameterDict()
        for name, shape in shapes.items():
            weight = torch.randn(shape, generator=generator) * math.sqrt(2 / math.prod(shape[1:]))
            self.shared[f"{name}/weight"] = nn.Parameter(weight)
            self.shared[f"{name}/bias"] = nn.Parameter(torch.zeros(shape[0]))
            if len(shape) == 4:
                self.shared[f"{name}/gamma"] = nn.Parameter(torch.ones(shape[0]))
        self.step_index = {key: i for i, key in enumerate(steps)}
        self.multiplier_index = {key: i for i, key in enumerate(multipliers)}
        self.log_steps = nn.Parameter(torch.zeros(len(steps)))
        self.log_multipliers = nn.Parameter(torch.zeros(len(multipliers)))
        self.register_buffer("step_is_set", torch.zeros(len(steps), dtype=torch.bool))
        self.register_buffer("pixel_mean", torch.zeros(1))
        self.register_buffer("pixel_std", torch.ones(1))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.log_steps.device

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
            return run(graph, images, SharedLayers(self))
        return run(graph, images, FoldedLayers(self.fold(graph, calibration)))

    def extract(self, architecture: Architecture, calibration: Calibration) -> dict[str, NDArray[Any]]:
        """Cut a network out: return the weights that `search_spaces.lower` takes, integers as int8 and int32."""
        arrays = {}
        graph = self.space.graph(architecture)
        folded = self.fold(graph, calibration)
        for name, tensor in folded.items():
            owner, _, kind = name.rpartition("/")
            node = graph[owner]
            array = tensor.detach().cpu().numpy().copy()
            if isinstance(node, Conv | Linear) and not node.precision.is_float and kind in ("weight", "bias"):
                array = array.astype(np.int8 if kind == "weight" else np.int32)
            arrays[name] = array
        return arrays

    @torch.no_grad()
    def fold(self, graph: Graph, calibration: Calibration) -> dict[str, Tensor]:
        """Return the network's weights under the names of `search_spaces.lower`, integers held as floats."""
        folded: dict[str, Tensor] = {}
        for node in graph.nodes:
            if isinstance(node, Conv | Linear):
                folded |= self._fold_layer(node, calibration)
            elif isinstance(node, Quantize):
                folded[f"{node.name}/scale"] = calibration.steps[node.name]
            elif isinstance(node, Normalize):
                folded[f"{node.name}/mean"], folded[f"{node.name}/std"] = self.pixel_mean, self.pixel_std
        return folded

    def _fold_layer(self, node: WeightedNode, calibration: Calibration) -> dict[str, Tensor]:
        weight, bias = self.weight(node), self.bias(node)
        slope, intercept = torch.ones_like(bias), bias
        if isinstance(node, Conv):
            slope, intercept = batch_norm_line(self.gamma(node), bias, *calibration.statistics[node.name])
        if node.precision.is_float:
            weight = weight * slope.reshape(-1, *[1] * (weight.ndim - 1))
            return {f"{node.name}/weight": weight, f"{node.name}/bias": intercept}
        high = node.precision.weights.high
        scale = self.weight_scale(node, weight)
        integers = quantize(weight, scale.reshape(-1, *[1] * (weight.ndim - 1)), -high, high)
        input_scale = calibration.steps[node.inputs[0]]
        integers, scale, bias = fold_integers(integers, scale, slope, intercept, input_scale)
        return {
            f"{node.name}/weight": integers.float(),
            f"{node.name}/weight_scale": scale.float(),
            f"{node.name}/bias": bias,
        }

    # ------------------------------------------------------------------ the active slice

    def weight(self, node: WeightedNode) -> Tensor:
        """Return the shared weight cut to `node.weight_shape`: first channels, centre of the kernel."""
        shared: Tensor = self.shared[f"{node.name}/weight"]
        n_out, n_in, *kernel = node.weight_shape
        shared = shared[:n_out, :n_in]
        if kernel:
            margin = (shared.shape[-1] - kernel[0]) // 2
            shared = shared[:, :, margin : margin + kernel[0], margin : margin + kernel[0]]
        return shared

    def bias(self, node: WeightedNode) -> Tensor:
        """Return the bias (of a `Conv`: that of its batch norm), shape `(out,)`."""
        bias: Tensor = self.shared[f"{node.name}/bias"][: node.shape[0]]
        return bias

    def gamma(self, node: Conv) -> Tensor:
        """Return the factor of the batch norm, shape `(out,)`."""
        gamma: Tensor = self.shared[f"{node.name}/gamma"][: node.shape[0]]
        return gamma

    def weight_scale(self, node: WeightedNode, weight: Tensor) -> Tensor:
        """Return the scale of integer weights, shape `(out,)`: the best for this slice times a learned multiplier."""
        high = node.precision.weights.high
        scale = self.choose_scale(weight.flatten(1), high)
        index = self.multiplier_index[node.name, node.precision.weights.bits]
        return scale * scale_gradient(self.log_multipliers[index].exp(), 1 / math.sqrt(weight.numel() * high))

    def step(self, node: Quantize, values: Tensor, *, remember: bool) -> Tensor:
        """Return the learned scale of an activation, shape `()`; one never used before is taken from `values`.

        Args:
            node: The quantizer.
            values: What it is about to quantize, shape `(n, ...)`.
            remember: Whether a new scale is stored, to be learned from there.
        """
        index = self.step_index[node.name, node.format.bits]
        if not self.step_is_set[index]:
            first = self.choose_scale(values.detach()[:N_IMAGES_OF_FIRST_STEP].reshape(1, -1), node.format.high)[0]
            first = processes.total(first) / processes.count()
            if not remember:
                return first
            with torch.no_grad():
                self.log_steps[index] = first.log()
                self.step_is_set[index] = True
        per_image = values[0].numel()
        return scale_gradient(self.log_steps[index].exp(), 1 / math.sqrt(per_image * node.format.high))


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
        """See `Layers`."""
        return (x - self.supernet.pixel_mean.reshape(-1, 1, 1)) / self.supernet.pixel_std.reshape(-1, 1, 1)

    def conv(self, node: Conv, x: Tensor) -> Tensor:
        """See `Layers`. Channels last: depthwise gradients are three times faster so on a CPU."""
        x = x.contiguous(memory_format=torch.channels_last)
        y = functional.conv2d(
            x, self._rounded(node), stride=node.stride, padding=node.kernel // 2, groups=node.groups
        ).float()
        gamma, beta = self.supernet.gamma(node), self.supernet.bias(node)
        if self.calibration is None:
            return functional.batch_norm(y, None, None, gamma, beta, training=True, eps=BATCH_NORM_EPS)
        # torch's own statistics of a channels-last batch depend on the number of threads, these do not.
        var, mean = torch.var_mean(y, dim=(0, 2, 3))
        self.calibration.statistics[node.name] = (mean, var)
        return functional.batch_norm(y, mean, var, gamma, beta, eps=BATCH_NORM_EPS)

    def linear(self, node: Linear, x: Tensor) -> Tensor:
        """See `Layers`."""
        return functional.linear(x, self._rounded(node), self.supernet.bias(node)).float()

    def quantize(self, node: Quantize, x: Tensor) -> Tensor:
        """See `Layers`."""
        step = self.supernet.step(node, x, remember=self.calibration is None)
        if self.calibration is not None:
            step = self.calibration.steps.setdefault(node.name, step.detach())
        return self.supernet.fake_quantize(x, step, node.format.low, node.format.high)

    def _rounded(self, node: WeightedNode) -> Tensor:
        weight = self.supernet.weight(node)
        if node.precision.is_float:
            return weight
        high = node.precision.weights.high
        scale = self.supernet.weight_scale(node, weight).reshape(-1, *[1] * (weight.ndim - 1))
        return fake_quantize(weight, scale, -high, high)


class FoldedLayers:
    """Layers of one network as shipped.

    Args:
        weights: As `Supernet.fold` gives them, or `extract` as tensors.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self.weights = weights

    def normalize(self, node: Normalize, x: Tensor) -> Tensor:
        """See `Layers`."""
        mean, std = self.weights[f"{node.name}/mean"], self.weights[f"{node.name}/std"]
        return (x - mean.reshape(-1, 1, 1)) / std.reshape(-1, 1, 1)

    def conv(self, node: Conv, x: Tensor) -> Tensor:
        """See `Layers`."""
        x = x.contiguous(memory_format=torch.channels_last)
        weight, bias = self._weight_and_bias(node)
        return functional.conv2d(x, weight, bias, node.stride, node.kernel // 2, groups=node.groups)

    def linear(self, node: Linear, x: Tensor) -> Tensor:
        """See `Layers`."""
        return functional.linear(x, *self._weight_and_bias(node))

    def quantize(self, node: Quantize, x: Tensor) -> Tensor:
        """See `Layers`."""
        scale = self.weights[f"{node.name}/scale"]
        return dequantize(quantize(x, scale, node.format.low, node.format.high), scale)

    def _weight_and_bias(self, node: WeightedNode) -> tuple[Tensor, Tensor]:
        weight, bias = self.weights[f"{node.name}/weight"], self.weights[f"{node.name}/bias"]
        if node.precision.is_float:
            return weight, bias
        scale = self.weights[f"{node.name}/weight_scale"]
        input_scale = self.weights[f"{node.inputs[0]}/scale"]
        weight = dequantize(weight, scale.reshape(-1, *[1] * (weight.ndim - 1)))
        return weight, dequantize(bias, input_scale * scale.double()).float()


def _inventory(
    space: SearchSpace,
) -> tuple[dict[str, tuple[int, ...]], list[tuple[str, int]], list[tuple[str, int]]]:
    """Return the greatest shape of each weight, and every (quantizer, bits) and (integer layer, bits) of the space."""
    shapes: dict[str, tuple[int, ...]] = {}
    steps: dict[tuple[str, int], None] = {}
    multipliers: dict[tuple[str, int], None] = {}
    nodes: list[Node] = [
        node for block in space.distinct_blocks() for source in (FLOAT32, INT8) for node in place_quantizers(block, source)
    ]
    for node in nodes:
        if isinstance(node, Conv | Linear):
            known = shapes.get(node.name, node.weight_shape)
            shapes[node.name] = tuple(max(pair) for pair in zip(known, node.weight_shape, strict=True))
            if not node.precision.is_float:
                multipliers[node.name, node.precision.weights.bits] = None
        elif isinstance(node, Quantize):
            steps[node.name, node.format.bits] = None
    return shapes, list(steps), list(multipliers)
