"""Signals of a supernet: what says something of a network's loss and costs a tenth of measuring it, or less.

They are no objectives: predictors learn how much they say, see `predictors.features.features.Signal`. A new one is a
function in a file of its own, registered under its name.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.data.dataset import Dataset
from nas.objectives.supernet_evaluator import BATCH, SupernetEvaluator
from nas.supernet.calibrate import CalibratingLayers
from nas.supernet.executor import execute
from nas.supernet.layers import SharedLayers
from nas.supernet.ops.conv import convolve
from nas.supernet.supernet import Supernet
from nas.tasks.metric import metric_of
from nas.tasks.task import values
from predictors import Signal
from search_spaces.graph.graph import Graph
from search_spaces.graph.node import Node
from search_spaces.operators.conv import Conv
from search_spaces.operators.norm import Normalize
from search_spaces.operators.quantize import Quantize
from search_spaces.registry import Registry
from search_spaces.space.space import Genomes

Floats = NDArray[np.float64]

N_SAMPLES = 1024  # of the validation split, the same for every network; of 512 the ranking is a sixth worse
N_GRADIENT_SAMPLES = 64  # of the training split
TINY = 1e-12

SIGNALS: Registry[Callable[[SupernetEvaluator], Signal]] = Registry("signal")
"""From what measures the networks to the signal."""


@SIGNALS.register("loss")
def uncalibrated_loss(evaluator: SupernetEvaluator) -> Signal:
    """Return the logarithm of the loss, or of a metric that is its own, on fixed samples; nothing is recalibrated.

    Batch norms take the statistics of their own batch.
    The samples are of the validation split: on training samples it would rank networks by what they have learned by heart.
    """
    supernet, task, quantity = (
        evaluator.supernet,
        evaluator.task,
        metric_of(evaluator.task.metric.loss or evaluator.task.metric.name),
    )
    arrays = next(evaluator.data.batches("val", N_SAMPLES))
    inputs = torch.from_numpy(arrays[evaluator.data.inputs]).to(supernet.device)

    @torch.no_grad()
    def of(graph: Graph) -> float:
        output = torch.cat([execute(graph, batch, CalibratingLayers(supernet)) for batch in torch.split(inputs, BATCH)])
        return float(np.log(max(values(task, output.cpu().numpy(), arrays)[quantity.name], TINY)))

    is_estimate = quantity.direction == "min"  # on the scale of the predictors, which is the logarithm
    return Signal("uncalibrated loss", _each(evaluator, of), slope=1.0 if is_estimate else 0.0, is_free=False)


@SIGNALS.register("gradient_norm")
def gradient_norm(evaluator: SupernetEvaluator) -> Signal:
    """Return the logarithm of the norm of the loss's gradient by all weights; Abdelfattah et al. 2021, arXiv:2101.08134."""

    def of(graph: Graph) -> float:
        gradients = _gradients(evaluator, graph)
        return float(np.log(sum(float(g.square().sum()) for _, g in gradients.values()) + TINY)) / 2

    return Signal("gradient norm", _each(evaluator, of), is_free=False)


@SIGNALS.register("synflow")
def synflow(evaluator: SupernetEvaluator) -> Signal:
    """Return the logarithm of the flow through the absolute weights, without batch norms and quantizers.

    Source:
        SynFlow, Tanaka et al. 2020, arXiv:2006.05467. Of a network without biases the sum over a layer's weights of weight
        times gradient is the same for every layer, the flow itself, so that no gradient is needed.
    """
    supernet = evaluator.supernet

    @torch.no_grad()
    def of(graph: Graph) -> float:
        ones = torch.ones(1, *graph.input_shape, dtype=torch.float64, device=supernet.device)
        return float(np.log(float(execute(graph, ones, AbsoluteLayers(supernet)).abs().sum()) + TINY))

    return Signal("synflow", _each(evaluator, of), is_free=False)


@SIGNALS.register("node_saliency")
def node_saliency(evaluator: SupernetEvaluator) -> Signal:
    """Return for every node with weights the logarithm of the sum of weight times gradient, 0 where the node is not.

    Source:
        ParZC, Dong et al. 2024, arXiv:2402.02105: statistics of nodes weighed by what is measured. Differs: a ridge weighs
        them, the signals' line, instead of a trained mixer.
    """
    names = sorted(evaluator.supernet.shared)
    place = {name: i for i, name in enumerate(names)}

    def of(graph: Graph) -> Floats:
        row = np.zeros(len(names))
        for name, (weight, gradient) in _gradients(evaluator, graph).items():
            row[place[name]] = np.log1p(1e3 * float((weight * gradient).abs().sum()))
        return row

    return Signal("saliency of nodes", _each(evaluator, of), is_free=False, n_columns=len(names))


class TrainingLayers(CalibratingLayers):
    """Shared layers through whose batch norms gradients pass; new activation scales are not stored."""

    batch_norm = SharedLayers.batch_norm
    tensors = SharedLayers.tensors


class AbsoluteLayers(SharedLayers):
    """Shared layers with absolute weights in double precision, without batch norms, biases and quantizers."""

    def normalize(self, node: Normalize, x: Tensor) -> Tensor:  # noqa: ARG002
        """See `SharedLayers`."""
        return x

    def conv(self, node: Conv, x: Tensor) -> Tensor:
        """See `SharedLayers`."""
        return convolve(node, x, self.supernet.weight(node).double().abs())

    def tensors(self, node: Node) -> tuple[Tensor, ...]:
        """See `SharedLayers`."""
        weight = self.supernet.weight(node).double().abs()
        return (weight, torch.zeros_like(self.supernet.bias(node)).double()) if "bias" in node.spec_of else (weight,)

    def quantize(self, node: Quantize, x: Tensor) -> Tensor:  # noqa: ARG002
        """See `SharedLayers`."""
        return x


def _each(evaluator: SupernetEvaluator, of: Callable[[Graph], float | Floats]) -> Callable[[Genomes], Floats]:
    """Return the signal of genomes `(n, n_genes)` that a function of one graph gives."""
    return lambda genomes: np.array([of(subnet.graph) for subnet in evaluator.supernet.space.subnets(genomes)])


def _first(evaluator: SupernetEvaluator, n: int) -> Mapping[str, Tensor]:
    """Return the first training samples as tensors where the supernet is."""
    data: Dataset = evaluator.data
    batch = next(data.batches("train", n))
    return {name: torch.from_numpy(array).to(evaluator.supernet.device) for name, array in batch.items()}


def _gradients(evaluator: SupernetEvaluator, graph: Graph) -> dict[str, tuple[Tensor, Tensor]]:
    """Return the weights that a network uses, as shared, and the gradient of its loss on a fixed batch, by name."""
    supernet: Supernet = evaluator.supernet
    batch = _first(evaluator, N_GRADIENT_SAMPLES)
    parameters = dict(supernet.shared.items())
    with torch.enable_grad():
        loss = evaluator.task.loss(execute(graph, batch[evaluator.data.inputs], TrainingLayers(supernet)), batch)
        found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    pairs = zip(parameters.items(), found, strict=True)
    return {name: (weight.detach(), gradient) for (name, weight), gradient in pairs if gradient is not None}
