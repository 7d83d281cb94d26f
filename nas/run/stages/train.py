"""The training of a run's supernet: from the start, or on from the last checkpoint."""

import logging
from pathlib import Path
from typing import Any

import torch

from nas.data.dataset import Dataset
from nas.data.words import read_in_words
from nas.events import distributed
from nas.events.progress import progress_bar
from nas.run.folder import RunFolder
from nas.supernet.repair import N_ROUNDING, repair
from nas.supernet.supernet import Supernet
from nas.tasks.task import Task
from nas.training.checkpoint import save_tensors
from nas.training.samplers import Around
from nas.training.tensorboard import tensorboard_log
from nas.training.trainer import init_from, train
from search_spaces.graph.graph import Graph

logger = logging.getLogger(__name__)


def train_supernet(
    run: RunFolder,
    supernet: Supernet,
    task: Task,
    data: Dataset,
    identity: dict[str, Any],
    start: Path | None = None,
    around: Around | None = None,
) -> None:
    """Train a supernet and write it into the run folder; on a GPU if there is one, in all processes that have joined.

    Args:
        run: The run.
        supernet: New; changed in place.
        task: Says what is lost and what is scored.
        data: Its training split is used.
        identity: What a checkpoint must agree with to be gone on from; goes into the file of the supernet.
        start: File of the weights to begin with; None: those that the supernet has.
        around: What the round before has found; None in the first training.
    """
    experiment = run.experiment
    if distributed.is_main():
        for line in read_in_words(data):
            logger.log(logging.WARNING if line.startswith("warning: ") else logging.INFO, line)
    if start and not run.checkpoint.exists():
        init_from(supernet, start)
    supernet.to("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(max(1, experiment.threads // distributed.world_size()))
    trained_alike = identity["training"] | {"error_feedback": False}  # what is done afterwards changes no checkpoint
    with progress_bar("training") as update, tensorboard_log(run.tensorboard) as log:
        records = train(
            supernet,
            task,
            data,
            run.schedule,
            seed=experiment.seed + run.number,
            checkpoint=run.checkpoint,
            identity=identity | {"training": trained_alike},
            around=around,
            progress=update,
            log=log,
        )
    if distributed.is_main():
        rounded: dict[str, torch.Tensor] = {}
        if run.schedule.error_feedback:
            round_after_training(supernet, data)
            rounded = supernet.groups.tensors()
        save_tensors(run.supernet, supernet.state_dict() | rounded, {**identity, "records": records})


def round_after_training(supernet: Supernet, data: Dataset, graph: Graph | None = None) -> None:
    """Round matrices of a decoder in groups of 4 bits with error feedback, see `nas.supernet.repair`; it keeps them.

    Args:
        supernet: Trained.
        data: Its training split tells what matrices meet.
        graph: The network that was trained, if it was one alone.
    """
    windows = torch.from_numpy(data.train[data.inputs][:N_ROUNDING]).to(supernet.device)
    with progress_bar("rounding") as update:
        repair(supernet, windows, graph=graph, bits=(4,), progress=lambda done, total: update(done, total, "matrices"))
