"""Recalibration of one subnet: batch-norm statistics and activation scales from fixed training samples."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from nas.quantizers.groups import dequantize_groups
from nas.supernet.executor import execute
from nas.supernet.folding import BATCH_NORM_EPS
from nas.supernet.layers import SharedLayers
from nas.supernet.scales import N_SAMPLES_OF_INITIAL_SCALE, activation_scale
from nas.supernet.supernet import Supernet
from search_spaces.graph.graph import Graph
from search_spaces.graph.node import Node
from search_spaces.lowering import has_integer_weights
from search_spaces.operators.conv import Conv
from search_spaces.operators.quantize import Quantize, quantizers

BATCH = 512


@dataclass(frozen=True, eq=False)
class Calibration:
    """Statistics and scales of one subnet, beside the shared weights.

    Attributes:
        statistics: By name of a `Conv`: mean and variance of each channel before its batch norm, shapes `(channels,)`.
        scales: By name of a `Quantize`: its scale, shape `()`.
        zero_points: By name of an asymmetric `Quantize`: what stands for zero, shape `()`.
    """

    statistics: Mapping[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    scales: Mapping[str, Tensor] = field(default_factory=dict)
    zero_points: Mapping[str, Tensor] = field(default_factory=dict)


class CalibratingLayers(SharedLayers):
    """Shared layers that note what they find: of statistics the last batch's, of scales the first one's.

    Weights in groups are those that are deployed.

    Args:
        supernet: Owner of the weights; not changed.
        known: Its scales and zero points are used instead of learned ones; its statistics are not.
    """

    def __init__(self, supernet: Supernet, known: Calibration | None = None) -> None:
        super().__init__(supernet)
        self.found: dict[str, tuple[Tensor, Tensor]] = {}
        self.scales: dict[str, Tensor] = dict(known.scales) if known else {}
        self.zero_points: dict[str, Tensor] = dict(known.zero_points) if known else {}

    def batch_norm(self, node: Conv, y: Tensor, gamma: Tensor, bias: Tensor) -> Tensor:
        """See `SharedLayers`."""
        return functional.batch_norm(y, *self.statistics(node, y), gamma, bias, eps=BATCH_NORM_EPS)

    def statistics(self, node: Conv, y: Tensor) -> tuple[Tensor, Tensor]:
        """See `SharedLayers`; the variance is that of all samples, as the batch tells it."""
        var, mean = torch.var_mean(y, dim=(0, 2, 3), correction=1)
        self.found[node.name] = (mean, var)
        return mean, var

    def scale(self, node: Quantize, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """See `SharedLayers`."""
        scale, zero_point = activation_scale(self.supernet, node, x, remember=False)
        scale = self.scales.setdefault(node.name, scale.detach())
        if zero_point is not None:
            zero_point = self.zero_points.setdefault(node.name, zero_point.detach().round())
        return scale, zero_point

    def tensors(self, node: Node) -> tuple[Tensor, ...]:
        """See `SharedLayers`."""
        if not node.precision.is_grouped or not has_integer_weights(node):
            return super().tensors(node)
        return (dequantize_groups(*self.supernet.groups.get(node).values()),)

    def share_scales(self, graph: Graph) -> None:
        """Note the scales of quantizers that share another one's."""
        for node in graph.nodes:
            if isinstance(node, Quantize) and node.shares:
                for known in (self.scales, self.zero_points):
                    known |= {node.name: known[node.shares]} if node.shares in known else {}


@torch.no_grad()
def calibrate(supernet: Supernet, graph: Graph, inputs: Tensor) -> Calibration:
    """Return what a subnet needs beside the shared weights.

    The inputs pass in batches of 512 with quantizers on and batch norms on their own batch; statistics are averaged over
    the batches. Activation scales are the learned ones; one that training never visited is taken from the first 16 inputs,
    and only these pass where there are no statistics.

    Args:
        supernet: Owner of the weights; not changed.
        graph: The subnet.
        inputs: Of training samples, raw, shape `(n, *graph.input_shape)`, n >= 2.

    Source:
        Cumulative recalibration of slimmable networks: Yu & Huang 2019, arXiv:1903.05134, section 3.3.
    """
    has_statistics = any(isinstance(node, Conv) and node.batch_norm for node in graph.nodes)
    if not (has_statistics or any(quantizers(graph.nodes))):
        return Calibration()
    layers = CalibratingLayers(supernet)
    if not has_statistics:
        inputs = inputs[:N_SAMPLES_OF_INITIAL_SCALE]
    mean: dict[str, Tensor] = {}
    var: dict[str, Tensor] = {}
    for batch in torch.split(inputs, BATCH):
        execute(graph, batch, layers)
        share = len(batch) / len(inputs)
        for name, (batch_mean, batch_var) in layers.found.items():
            mean[name] = mean.get(name, 0) + share * batch_mean
            var[name] = var.get(name, 0) + share * batch_var
    layers.share_scales(graph)
    return Calibration({name: (mean[name], var[name]) for name in mean}, layers.scales, layers.zero_points)
