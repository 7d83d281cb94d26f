"""One optimizer step over several subnets: the sandwich rule with in-place distillation."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from nas.supernet import Supernet
from search_spaces.baselines import format_genes, formats, uniform_genome
from search_spaces.graph import Graph
from search_spaces.space import SearchSpace


def sample_sandwich(space: SearchSpace, n_random: int, quantized: bool, rng: np.random.Generator) -> list[Graph]:
    """Return the largest network, `n_random` random ones and the smallest.

    Args:
        space: The space.
        n_random: Number of random networks.
        quantized: False: all in the first format that is offered (float32 where it is). True: the largest in the first
            format, the random ones in random formats, the smallest in the last.
        rng: Source of the random networks.

    Source:
        Yu & Huang 2019, arXiv:1903.05134 (sandwich); recipe of Cai et al. 2020, arXiv:1908.09791, with formats added.
    """
    offered = formats(space)
    random = space.sample(n_random, rng)
    if offered and not quantized:
        genes = format_genes(space)
        random[:, genes] = [space.choices[gene].options.index(offered[0]) for gene in genes]
        random = space.canonicalize(random)
    largest = uniform_genome(space, "largest")
    smallest = uniform_genome(space, "smallest", offered[-1] if offered and quantized else None)
    return [space.graph(space.architecture(genome)) for genome in (largest, *random, smallest)]


def sandwich_step(
    supernet: Supernet,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    graphs: Sequence[Graph],
    *,
    label_smoothing: float,
    clip_norm: float,
) -> float:
    """Make one step on the summed gradients of several networks.

    Args:
        supernet: Its weights change.
        optimizer: Over its parameters.
        images: Raw pixels, shape `(n, channels, height, width)`.
        labels: Shape `(n,)`.
        graphs: The first learns from the labels and teaches the others.
        label_smoothing: Of the first network's loss.
        clip_norm: Greatest norm of the gradient.

    Returns:
        Loss of the first network.
    """
    optimizer.zero_grad(set_to_none=True)
    teacher = supernet(images, graphs[0])
    loss = functional.cross_entropy(teacher, labels, label_smoothing=label_smoothing)
    loss.backward()  # type: ignore[no-untyped-call]
    targets = teacher.detach().softmax(dim=1)
    for graph in graphs[1:]:
        functional.cross_entropy(supernet(images, graph), targets).backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(supernet.parameters(), clip_norm)
    optimizer.step()
    return float(loss.detach())
