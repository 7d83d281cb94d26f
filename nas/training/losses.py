"""Regularizer that keeps weights spread evenly, so that few bits hold them with little error."""

import torch
from torch import Tensor

from nas.supernet.supernet import Supernet

KURTOSIS = 1.8  # of a uniform distribution
MIN_ELEMENTS = 256


def kurtosis_loss(supernet: Supernet) -> Tensor:
    """Return the mean squared distance of the weights' kurtosis from 1.8 and of their skewness from 0, shape `()`.

    It is taken over the convolutions of at least 256 weights, each whole.

    Source:
        Xu et al. 2023, EQ-Net, arXiv:2308.07650, section 3.3.
    """
    losses = []
    for name, weight in supernet.shared.items():
        if name.endswith("/weight") and weight.ndim == 4 and weight.numel() >= MIN_ELEMENTS:
            standard = (weight - weight.mean()) / weight.std()
            skewness, kurtosis = standard.pow(3).mean(), standard.pow(4).mean()
            losses.append((kurtosis - KURTOSIS).square() + skewness.square())
    return torch.stack(losses).mean() if losses else torch.zeros((), requires_grad=True)
