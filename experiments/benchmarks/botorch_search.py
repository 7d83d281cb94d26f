"""BoTorch on an enumerated space: expected hypervolume improvement of every network that was not measured.

It needs an environment of its own (`pip install botorch`), see `bare:botorch` of search.py.
"""

from collections.abc import Callable

import numpy as np
import torch
from botorch.acquisition.multi_objective.analytic import ExpectedHypervolumeImprovement
from botorch.fit import fit_gpytorch_mll
from botorch.models import ModelListGP, SingleTaskGP
from botorch.models.transforms import Standardize
from botorch.utils.multi_objective.box_decompositions import FastNondominatedPartitioning
from gpytorch.mlls import SumMarginalLogLikelihood

N_START = 12
CHUNK = 2048


def ask_botorch(genomes: np.ndarray, look_up: Callable[[np.ndarray], np.ndarray], seed: int, n: int) -> np.ndarray:
    """Optimize two objectives by BoTorch with its defaults: a Gaussian process each, on one-hot genes and logarithms.

    Args:
        genomes: Every network, shape `(k, n_genes)`.
        look_up: Genomes to both objectives, shape `(m, 2)`, minimised.
        seed: Of the first networks, which are drawn at random.
        n: Networks to measure.

    Returns:
        Both objectives of the networks in the order of measurement, shape `(n, 2)`.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    one_hot = np.concatenate(
        [genomes[:, [i]] == np.arange(genomes[:, i].max() + 1) for i in range(genomes.shape[1])], axis=1
    )
    everything = torch.tensor(one_hot, dtype=torch.float64)
    order = list(np.random.default_rng(seed).permutation(len(genomes))[:N_START])
    while len(order) < n:
        x = everything[order]
        y = -torch.tensor(np.log(look_up(genomes[order])), dtype=torch.float64)
        model = ModelListGP(*(SingleTaskGP(x, y[:, [i]], outcome_transform=Standardize(1)) for i in range(2)))
        fit_gpytorch_mll(SumMarginalLogLikelihood(model.likelihood, model))
        reference = y.min(dim=0).values
        gain = ExpectedHypervolumeImprovement(
            model, ref_point=reference.tolist(), partitioning=FastNondominatedPartitioning(reference, y)
        )
        with torch.no_grad():
            found = torch.cat([gain(chunk[:, None]) for chunk in torch.split(everything, CHUNK)])
        found[order] = -torch.inf
        order.append(int(found.argmax()))
    return look_up(genomes[order])
