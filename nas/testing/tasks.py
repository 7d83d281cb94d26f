"""Contract of a task."""

import numpy as np
import torch

from nas.data.dataset import Dataset
from nas.tasks import TASKS
from nas.tasks.task import values


def check_task(name: str, data: Dataset) -> None:
    """Check a registered task on a data set: its losses are learned from, its metrics are finite and rank as they say.

    Args:
        name: Under which it is registered.
        data: Of its kind of targets.
    """
    kind = TASKS.get(name)
    task = kind.of(data)
    assert kind.name == name
    assert task.metrics[0] == kind.metric, "the first metric is the one that steers"
    assert all(metric.of_data for metric in task.metrics)
    assert len({metric.name for metric in task.metrics}) == len(task.metrics)
    assert task.inputs[0].name == data.inputs
    assert task.inputs[0].shape == data.input_shape
    n, generator = min(32, data.size("train")), torch.Generator().manual_seed(0)
    batch = {key: torch.from_numpy(array[:n]) for key, array in data.train.items()}
    output = torch.randn((n, *task.outputs[0].shape), generator=generator).requires_grad_()
    losses = [
        task.loss(output, batch),
        task.loss(output, batch, smoothing=0.1),
        task.distillation_loss(output, output * 0.5),
    ]
    for loss in losses:
        assert loss.shape == ()
        assert bool(loss.isfinite())
    (gradient,) = torch.autograd.grad(losses[0], output)
    better = (output - 0.5 * output.norm() * gradient / gradient.norm()).detach().numpy()
    samples = {key: array[:n] for key, array in data.train.items()}
    before, after = values(task, output.detach().numpy(), samples), values(task, better, samples)
    assert set(before) == {metric.name for metric in task.metrics}
    assert all(np.isfinite(value) for value in before.values())
    assert not kind.metric.is_better(before[kind.metric.name], after[kind.metric.name]), "a step against the loss is worse"
    scores = task.scores(output.detach().numpy(), samples)
    assert all(scores[metric.name].shape == (n,) for metric in task.metrics)
    assert task.agreement(better, better).all(), "an output does not agree with itself"
    assert task.agreement(better, better).shape == (n,)
    augmented = task.augment(batch, 1, generator)
    assert {key: tensor.shape for key, tensor in augmented.items()} == {key: tensor.shape for key, tensor in batch.items()}
    unchanged = task.augment(batch, 0, generator)
    assert all(torch.equal(unchanged[key], batch[key]) for key in batch), "an amount of 0 changes something"
    assert sorted(task.order(samples).tolist()) == list(range(n)), "the order leaves samples out"
    assert set(task.describe()) == {"inputs", "outputs"}
    assert len(task.words()) == 2
    compile(task.answers, "answers", "exec")
