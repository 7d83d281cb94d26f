"""Fine-tuning of one subnet: it is trained on by itself, for a few epochs, from the weights that it shares."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from nas.data.dataset import Dataset
from nas.objectives.evaluator import Evaluator, Split
from nas.training.schedule import Schedule
from nas.training.trainer import train
from search_spaces.space.subnet import Subnet

SPLITS: tuple[Split, ...] = ("val", "test")


def finetune(
    evaluator: Evaluator,
    data: Dataset,
    subnet: Subnet,
    schedule: Schedule,
    *,
    epochs: int,
    learning_rate: float,
    seed: int,
    checkpoint: Path,
    identity: dict[str, Any],
    progress: Callable[[int, int, str], None] = lambda done, total, note: None,
) -> dict[str, float]:
    """Train one network on, in its own formats, with a cosine of the learning rate; or go on where that was stopped.

    Args:
        evaluator: Holds the supernet; its weights become those of this network, and wrong for others.
        data: Trains and measures.
        subnet: The network.
        schedule: How the supernet was trained; stages and rates are replaced.
        epochs: Passes over the training images.
        learning_rate: Greatest rate.
        seed: Of order and shifts.
        checkpoint: Written after every epoch.
        identity: What a checkpoint must agree with to be gone on from.
        progress: See `nas.training.trainer.train`.

    Returns:
        `error_val` and `error_test` in percent, and both with `_before` behind them.
    """
    graph, genomes = subnet.graph, subnet.genome[None]
    before = {f"error_{split}_before": float(evaluator.errors(genomes, split)[0]) for split in SPLITS}
    short = replace(schedule, float_epochs=0, quantized_epochs=epochs, quantized_learning_rate=learning_rate, kurtosis=0.0)
    identity = {**identity, "finetuned": subnet.id, "epochs": epochs, "learning_rate": learning_rate}
    train(
        evaluator.supernet,
        data,
        short,
        seed=seed,
        checkpoint=checkpoint,
        identity=identity,
        sample=lambda epoch, rng: [graph],
        error_before=before["error_val_before"],
        progress=progress,
    )
    return {f"error_{split}": float(evaluator.errors(genomes, split)[0]) for split in SPLITS} | before
