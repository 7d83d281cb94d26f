"""Recalibration of one subnet: batch-norm statistics and activation scales from fixed training images."""

import torch
from torch import Tensor

from nas.supernet.executor import execute
from nas.supernet.supernet import Calibration, SharedLayers, Supernet
from search_spaces.graph.graph import Graph

BATCH = 512


@torch.no_grad()
def calibrate(supernet: Supernet, graph: Graph, images: Tensor) -> Calibration:
    """Return what a subnet needs beside the shared weights.

    The images pass in batches of 512 with quantizers on and batch norms on their own batch; statistics are averaged over
    the batches. Activation scales are the learned ones; one that training never visited is taken from the first batch.

    Args:
        supernet: Owner of the weights; not changed.
        graph: The subnet.
        images: Raw training pixels, shape `(n, *graph.input_shape)`, n >= 2.

    Source:
        Cumulative recalibration of slimmable networks: Yu & Huang 2019, arXiv:1903.05134, section 3.3.
    """
    calibration = Calibration()
    mean: dict[str, Tensor] = {}
    var: dict[str, Tensor] = {}
    for batch in torch.split(images, BATCH):
        execute(graph, batch, SharedLayers(supernet, calibration))
        share = len(batch) / len(images)
        for name, (batch_mean, batch_var) in calibration.statistics.items():
            mean[name] = mean.get(name, 0) + share * batch_mean
            var[name] = var.get(name, 0) + share * batch_var
    calibration.statistics = {name: (mean[name], var[name]) for name in mean}
    return calibration
