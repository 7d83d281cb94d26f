"""One optimizer step over several subnets: the sandwich rule, with in-place distillation if wanted."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from nas.events import distributed
from nas.supernet.supernet import Supernet
from nas.training.losses import kurtosis_loss
from nas.training.schedule import Schedule
from search_spaces.graph.graph import Graph
from search_spaces.space.baselines import format_genes, formats, uniform_genome
from search_spaces.space.space import SearchSpace


def sample_sandwich(space: SearchSpace, schedule: Schedule, epoch: float, rng: np.random.Generator) -> list[Graph]:
    """Return the networks of one step: the largest, random ones, the smallest; before shrinking starts only the largest.

    The largest is in the first format that is offered (float32 where it is), the smallest in the last of those that are
    trained at this moment, the random ones in any of them: each block in its own, or a whole network in one.

    Args:
        space: The space.
        schedule: Decides by the moment.
        epoch: The moment, in epochs from 0.
        rng: Source of the random networks.

    Source:
        Yu & Huang 2019, arXiv:1903.05134 (sandwich); recipe of Cai et al. 2020, arXiv:1908.09791, with formats added;
        start of shrinking: DepS, Annavajjala et al. 2024, arXiv:2407.06167.
    """
    largest = space.subnet(uniform_genome(space, "largest")).graph
    if not schedule.shrinks(epoch):
        return [largest]
    trained = schedule.formats(formats(space), epoch)
    random = space.sample(schedule.n_random, rng)
    if trained:
        genes = format_genes(space)
        drawn = rng.integers(len(trained), size=(schedule.n_random, len(genes)))
        drawn = np.where(rng.random((schedule.n_random, 1)) < schedule.uniform_share, drawn[:, :1], drawn)
        for gene, column in zip(genes, drawn.T, strict=True):
            options = [space.choices[gene].options.index(name) for name in trained]
            random[:, gene] = np.array(options)[column]
        random = space.canonicalize(random)
    smallest = uniform_genome(space, "smallest", trained[-1] if trained else None)
    return [largest, *(space.subnet(genome).graph for genome in (*random, smallest))]


def sandwich_step(
    supernet: Supernet,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    graphs: Sequence[Graph],
    schedule: Schedule,
    *,
    in_bfloat16: bool = False,
) -> tuple[float, list[float]]:
    """Make one step on the summed gradients of several networks.

    Args:
        supernet: Its weights change.
        optimizer: Over its parameters.
        images: Raw pixels, shape `(n, channels, height, width)`; with several processes the whole batch, of which each
            computes its part.
        labels: Shape `(n,)`.
        graphs: All learn from the labels; with distillation the first teaches the others too, or instead.
        schedule: Settings of the losses.
        in_bfloat16: Whether convolutions compute in bfloat16.

    Returns:
        Loss of the first network, and of each the percentage of wrong answers on the batch.
    """
    optimizer.zero_grad(set_to_none=True)
    part = distributed.shard(len(images))
    mine, truth = images[part], labels[part]
    weight = len(mine) / len(images)
    sums = [0.0] * (1 + len(graphs))
    teacher: Tensor | None = None
    for i, graph in enumerate(graphs):
        with torch.autocast(images.device.type, torch.bfloat16, enabled=in_bfloat16):
            logits = supernet(mine, graph).float()
        loss = functional.cross_entropy(logits, truth, label_smoothing=schedule.label_smoothing)
        if teacher is not None:
            loss = torch.lerp(loss, functional.cross_entropy(logits, teacher), schedule.distillation)
        (loss * weight).backward()  # type: ignore[no-untyped-call]
        if i == 0:
            sums[0] = float(loss.detach()) * weight
            teacher = logits.detach().softmax(dim=1) if schedule.distillation else None
        sums[1 + i] = 100 * float((logits.detach().argmax(dim=1) != truth).float().mean()) * weight
    distributed.all_reduce_gradients(supernet.parameters())
    if schedule.kurtosis:
        (schedule.kurtosis * kurtosis_loss(supernet)).backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(supernet.parameters(), schedule.clip_norm)
    optimizer.step()
    loss_of_largest, *errors = distributed.all_reduce(torch.tensor(sums, dtype=torch.float64)).tolist()
    return loss_of_largest, errors
