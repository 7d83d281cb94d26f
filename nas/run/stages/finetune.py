"""Fine-tuning of one subnet: it is trained on by itself, for a few epochs, from the weights that it shares."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nas.export.folder import Exported
from nas.objectives.evaluator import Split
from nas.objectives.supernet_evaluator import SupernetEvaluator
from nas.training.schedule import Schedule
from nas.training.trainer import train
from search_spaces.space.subnet import Subnet


@dataclass(frozen=True)
class FineTuned:
    """A network that was trained on by itself.

    Attributes:
        values: `METRIC_val` and `METRIC_test` of every metric, and all with `_before` behind them.
        exported: Its folder.
    """

    values: Mapping[str, float]
    exported: Exported


SPLITS: tuple[Split, ...] = ("val", "test")


def finetune(
    evaluator: SupernetEvaluator,
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
        evaluator: Holds the supernet and the data; its weights become those of this network, and wrong for others.
        subnet: The network.
        schedule: How the supernet was trained; stages and rates are replaced.
        epochs: Passes over the training samples.
        learning_rate: Greatest rate.
        seed: Of order and augmentation.
        checkpoint: Written after every epoch.
        identity: What a checkpoint must agree with to be gone on from.
        progress: See `nas.training.trainer.train`.

    Returns:
        `METRIC_val` and `METRIC_test` of every metric, and all with `_before` behind them.
    """
    graph, task = subnet.graph, evaluator.task

    def measure() -> dict[str, float]:
        found = {split: evaluator.evaluate([subnet], split) for split in SPLITS}
        return {f"{name}_{split}": float(array[0]) for split in SPLITS for name, array in found[split].items()}

    before = measure()
    short = replace(
        schedule,
        float_epochs=0,
        quantized_epochs=epochs,
        quantized_learning_rate=learning_rate,
        kurtosis=0.0,
        quantization_noise=False,  # it learns with its own rounding
    )
    identity = {**identity, "finetuned": subnet.id, "epochs": epochs, "learning_rate": learning_rate}
    train(
        evaluator.supernet,
        task,
        evaluator.data,
        short,
        seed=seed,
        checkpoint=checkpoint,
        identity=identity,
        sample=lambda epoch, rng: [graph],
        before=before[f"{task.metric.name}_val"],
        progress=progress,
    )
    return measure() | {f"{name}_before": value for name, value in before.items()}
