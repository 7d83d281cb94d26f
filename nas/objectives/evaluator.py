"""Measured accuracy of subnets: recalibrate, then count wrong answers on a split."""

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.data.dataset import Dataset
from nas.supernet.calibrate import Calibration, calibrate
from nas.supernet.deploy import DeployedLayers, fold
from nas.supernet.executor import execute
from nas.supernet.supernet import Supernet
from search_spaces.graph.graph import Graph
from search_spaces.space.space import Genomes

BATCH = 512

Split = Literal["val", "test"]


class Evaluator:
    """Measures networks of a supernet on a data set.

    Args:
        supernet: Trained.
        data: Its training split calibrates.
        n_calibration: Training images to calibrate on: the first of the split, the same for every network.
    """

    def __init__(self, supernet: Supernet, data: Dataset, *, n_calibration: int = 2000) -> None:
        self.supernet = supernet
        self.calibration_images = torch.from_numpy(data.x_train[:n_calibration]).to(supernet.device)
        self._splits = {"val": (data.x_val, data.y_val), "test": (data.x_test, data.y_test)}

    def calibrate(self, graph: Graph) -> Calibration:
        """Return batch-norm statistics and activation scales of one subnet."""
        return calibrate(self.supernet, graph, self.calibration_images)

    def errors(self, genomes: Genomes, split: Split = "val") -> NDArray[np.float64]:
        """Return the percentage of wrong answers of networks.

        Args:
            genomes: Shape `(n, n_genes)`.
            split: `val` steers a search; `test` is only reported.

        Returns:
            Shape `(n,)`.
        """
        return np.array([self._error(subnet.graph, split) for subnet in self.supernet.space.subnets(genomes)])

    def measure(self, genomes: Genomes) -> dict[str, NDArray[np.float64]]:
        """Return the validation errors as a search asks for them, see `nas.search.search`."""
        return {"error": self.errors(genomes)}

    def _error(self, graph: Graph, split: Split) -> float:
        images, labels = self._splits[split]
        answers = predict(self.supernet, graph, self.calibrate(graph), torch.from_numpy(images).to(self.supernet.device))
        return 100 * float(np.mean(answers.argmax(dim=1).cpu().numpy() != labels))


@torch.no_grad()
def predict(supernet: Supernet, graph: Graph, calibration: Calibration, images: Tensor) -> Tensor:
    """Return the logits of one subnet as it would be shipped, shape `(n, n_classes)`."""
    layers = DeployedLayers(fold(supernet, graph, calibration))
    return torch.cat([execute(graph, batch, layers) for batch in torch.split(images, BATCH)])
