"""Metrics of subnets of a supernet: recalibrate, run as deployed, score a split."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.data.dataset import Dataset
from nas.objectives.evaluator import Split
from nas.supernet.calibrate import Calibration, calibrate
from nas.supernet.deploy import DeployedLayers, fold
from nas.supernet.executor import execute
from nas.supernet.supernet import Supernet
from nas.tasks.metric import Metric
from nas.tasks.task import Task, values_of
from search_spaces.graph.graph import Graph
from search_spaces.space.space import Genomes
from search_spaces.space.subnet import Subnet

BATCH = 512
MAX_ANSWERS = 2**25  # numbers of a batch that a network gives at once
MAX_CALIBRATED = 1_000  # networks whose calibrations are kept: a few kilobytes each


class SupernetEvaluator:
    """Measures networks of a supernet on a data set.

    Args:
        supernet: Trained.
        task: Says what is measured.
        data: Its training split calibrates.
        n_calibration: Training samples to calibrate on: the first of the split, the same for every network.
    """

    def __init__(self, supernet: Supernet, task: Task, data: Dataset, *, n_calibration: int = 2000) -> None:
        self.supernet = supernet
        self.task = task
        self.calibration_inputs = torch.from_numpy(data.train[data.inputs][:n_calibration]).to(supernet.device)
        self.data = data
        self._calibrated: dict[tuple[str, int], Calibration] = {}

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """See `Evaluator`."""
        return self.task.metrics

    def calibrate(self, graph: Graph) -> Calibration:
        """Return batch-norm statistics and activation scales of one subnet."""
        return calibrate(self.supernet, graph, self.calibration_inputs)

    def evaluate(self, subnets: Sequence[Subnet], split: Split = "val") -> dict[str, NDArray[np.float64]]:
        """See `Evaluator`."""
        found = [values_of(self.task, [self.scores(subnet, split)]) for subnet in subnets]
        return {metric.name: np.array([row[metric.name] for row in found]) for metric in self.metrics}

    def measure(self, genomes: Genomes) -> dict[str, NDArray[np.float64]]:
        """Return the validation values of genomes of shape `(n, n_genes)` as a search asks for them."""
        return self.evaluate(self.supernet.space.subnets(genomes))

    def scores(self, subnet: Subnet, split: Split) -> dict[str, NDArray[np.float64]]:
        """Return the score of each sample of a split by metric, shape `(n,)`, see `Task.scores`."""
        graph, key = subnet.graph, (subnet.id, sum(tensor._version for tensor in self.supernet.parameters()))
        if key not in self._calibrated:  # by the weights as they are now: whatever changes them counts up their versions
            if len(self._calibrated) >= MAX_CALIBRATED:
                self._calibrated.clear()
            self._calibrated[key] = self.calibrate(graph)
        layers = DeployedLayers(fold(self.supernet, graph, self._calibrated[key]))
        scores = []
        with torch.no_grad():
            for batch in self.data.batches(split, batch_size(self.task)):
                inputs = torch.from_numpy(batch[self.data.inputs]).to(self.supernet.device)
                scores.append(self.task.scores(execute(graph, inputs, layers).cpu().numpy(), batch))
        return {metric.name: np.concatenate([batch[metric.name] for batch in scores]) for metric in self.metrics}


def batch_size(task: Task) -> int:
    """Return how many samples are computed at once: of those with many answers fewer, so that these fit in memory."""
    return max(1, min(BATCH, MAX_ANSWERS // math.prod(task.outputs[0].shape)))


@torch.no_grad()
def predict(supernet: Supernet, graph: Graph, calibration: Calibration, inputs: Tensor) -> Tensor:
    """Return what one subnet gives as it would be deployed, shape `(n, *graph.output.shape)`."""
    layers = DeployedLayers(fold(supernet, graph, calibration))
    return torch.cat([execute(graph, batch, layers) for batch in torch.split(inputs, BATCH)])
