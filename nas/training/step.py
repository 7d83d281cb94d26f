"""One optimizer step over several subnets, with in-place distillation if wanted."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from nas.events import distributed
from nas.supernet.supernet import Supernet
from nas.tasks.task import Task
from nas.training.losses import kurtosis_loss
from nas.training.optimizers import Optimizer
from nas.training.schedule import Schedule
from search_spaces.graph.graph import Graph

MAX_SCORED = 2**21  # numbers of what networks give: to score more takes as long as to train


def training_step(
    supernet: Supernet,
    optimizer: Optimizer,
    task: Task,
    batch: Mapping[str, Tensor],
    graphs: Sequence[Graph],
    schedule: Schedule,
    *,
    teacher: Callable[[Tensor], Tensor] | None = None,
    in_bfloat16: bool = False,
) -> tuple[float, list[float]]:
    """Make one step on the summed gradients of several networks.

    Args:
        supernet: Its weights change.
        optimizer: Over its parameters.
        task: Says what is lost.
        batch: Samples by name; with several processes the whole batch, of which each computes its part.
        graphs: All learn from the targets; with distillation the first teaches the others too, or instead.
        schedule: Settings of the losses.
        teacher: Gives, for inputs, the answers that all learn from with distillation; None: the first network does.
        in_bfloat16: Whether convolutions and matrices compute in bfloat16.

    Returns:
        Loss of the first network, and of each the task's first metric on the batch, or on its first samples where there are
        millions of answers.
    """
    optimizer.zero_grad(set_to_none=True)
    inputs, n = batch[task.inputs[0].name], len(batch[task.inputs[0].name])
    part = distributed.shard(n)
    mine = {name: tensor[part] for name, tensor in batch.items()}
    n_scored = max(1, MAX_SCORED // math.prod(task.outputs[0].shape))
    truth = {name: tensor[:n_scored].cpu().numpy() for name, tensor in mine.items()}
    weight = len(inputs[part]) / n
    sums = [0.0] * (1 + len(graphs))
    taught = teacher(inputs[part]).float() if teacher else None
    for i, graph in enumerate(graphs):
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=in_bfloat16):
            output = supernet(inputs[part], graph).float()
        loss = task.loss(output, mine, smoothing=schedule.label_smoothing)
        if taught is not None:
            loss = torch.lerp(loss, task.distillation_loss(output, taught), schedule.distillation)
        (loss * weight).backward()  # type: ignore[no-untyped-call]
        if i == 0:
            sums[0] = float(loss.detach()) * weight
            taught = output.detach() if schedule.distillation and not teacher else taught
        scores = task.scores(output.detach()[:n_scored].cpu().numpy(), truth)[task.metric.name]
        sums[1 + i] = float(np.mean(scores)) * weight
    distributed.all_reduce_gradients(supernet.parameters())
    if schedule.kurtosis:
        (schedule.kurtosis * kurtosis_loss(supernet)).backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(supernet.parameters(), schedule.clip_norm)
    optimizer.step()
    loss_of_largest, *means = distributed.all_reduce(torch.tensor(sums, dtype=torch.float64)).tolist()
    return loss_of_largest, [task.metric.of_mean(mean) for mean in means]
