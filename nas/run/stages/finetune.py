"""Fine-tuning of one subnet: it is trained on by itself, for a few epochs, from the weights that it shares."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from nas.export.folder import Exported
from nas.objectives.evaluator import Split
from nas.objectives.supernet_evaluator import SupernetEvaluator
from nas.run.stages.train import round_after_training
from nas.supernet.deploy import DeployedLayers, fold
from nas.supernet.executor import execute
from nas.training.schedule import Schedule
from nas.training.trainer import train
from search_spaces.errors import DamagedFileError, InvalidInputError
from search_spaces.space.baselines import uniform_genome
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
    distillation: float = 0.0,
    teacher: Callable[[Tensor], Tensor] | None = None,
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
        distillation: Share of the loss that the teacher's answers give instead of the targets, 0 to 1.
        teacher: Gives answers to inputs; needed where there is distillation.
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
        distillation=distillation if teacher else 0.0,
        quantization_noise=False,  # it learns with its own rounding
    )
    identity = {**identity, "finetuned": subnet.id, "epochs": epochs, "learning_rate": learning_rate}
    if teacher and distillation:
        identity["distillation"] = distillation
    train(
        evaluator.supernet,
        task,
        evaluator.data,
        short,
        seed=seed,
        checkpoint=checkpoint,
        identity=identity,
        sample=lambda epoch, rng: [graph],
        teacher=teacher if distillation else None,
        before=before[f"{task.metric.name}_val"],
        progress=progress,
    )
    if schedule.error_feedback:
        round_after_training(evaluator.supernet, evaluator.data, graph)
    return measure() | {f"{name}_before": value for name, value in before.items()}


def largest_as_teacher(evaluator: SupernetEvaluator) -> Callable[[Tensor], Tensor]:
    """Return the answers of the largest network, in the first format, with the weights that the supernet has now."""
    supernet = evaluator.supernet
    graph = supernet.space.subnet(uniform_genome(supernet.space, "largest")).graph
    folded = fold(supernet, graph, evaluator.calibrate(graph))
    layers = DeployedLayers({name: tensor.clone() for name, tensor in folded.items()})  # the student changes its own

    def answer(inputs: Tensor) -> Tensor:
        with torch.no_grad():
            return execute(graph, inputs, layers)

    return answer


def fine_tuning_of(folder: Path) -> Mapping[str, float] | None:
    """Return how a network was fine-tuned into a folder, as far as its file says; None if it was not.

    Raises:
        DamagedFileError: If the file is damaged.
    """
    file = folder / "subnet.json"
    if not file.exists():
        return None
    try:
        found = json.loads(file.read_text())["found"]
        told = found.get("finetuned") or {"epochs": found["epochs"]["alone"]}  # versions before told epochs alone
        return {str(name): float(value) for name, value in told.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedFileError(f"'{file}' is damaged ({error!r}); remove '{folder}' to fine-tune it again") from error


def check_fine_tuned(folders: Sequence[Path], how: Mapping[str, float]) -> list[Path]:
    """Return those of the folders that hold a fine-tuned network.

    Args:
        folders: They need not exist.
        how: What is asked for: `epochs`, `learning_rate`, `distillation`.

    Raises:
        InvalidInputError: If some were fine-tuned otherwise.
        DamagedFileError: If a file is damaged.
    """
    known = {folder: told for folder in folders if (told := fine_tuning_of(folder)) is not None}
    others = {folder: told for folder, told in known.items() if not told.items() <= how.items()}
    if others:
        first = ", ".join(f"{name} {value:g}" for name, value in next(iter(others.values())).items())
        raise InvalidInputError(
            f"{len(others)} of {len(folders)} networks were fine-tuned otherwise, the first with {first}: ask for the same, "
            f"or remove {', '.join(str(folder) for folder in others)}"
        )
    return list(known)


def with_fine_tuned(front: pd.DataFrame, folders: Sequence[Path], metrics: Sequence[str]) -> pd.DataFrame:
    """Return a front with the metrics that its networks have after fine-tuning, and before it with `_before` behind.

    Args:
        front: A row for each network.
        folders: What each was exported to after it.
        metrics: Names of the task's metrics.
    """
    measured = [json.loads((folder / "subnet.json").read_text())["measured"] for folder in folders]
    columns = [f"{metric}_{split}" for metric in metrics for split in SPLITS]
    names = [name for column in columns for name in (column, f"{column}_before")]
    return front.assign(**{name: [row[name] for row in measured] for name in names})
