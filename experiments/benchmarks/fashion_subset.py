"""What the benchmarks of training share: a part of Fashion-MNIST, a shorter schedule, one resumable training."""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from nas.data.dataset import Dataset
from nas.data.load import load_dataset
from nas.events.progress import progress_bar
from nas.supernet.supernet import Supernet
from nas.tasks.classification import Classification
from nas.training.schedule import Schedule
from nas.training.trainer import train
from search_spaces import SearchSpace
from search_spaces.graph.graph import Graph


def add_options(parser: argparse.ArgumentParser, *, n_train: int, float_epochs: int, quantized_epochs: int) -> None:
    """Add the options that `prepare` reads, with these defaults."""
    parser.add_argument("--n-train", type=int, default=n_train)
    parser.add_argument("--float-epochs", type=int, default=float_epochs)
    parser.add_argument("--quantized-epochs", type=int, default=quantized_epochs)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)


def prepare(options: argparse.Namespace) -> tuple[Dataset, Schedule]:
    """Set the threads; return the first training images of Fashion-MNIST, all of its other splits, and the schedule."""
    torch.set_num_threads(options.threads)
    data = load_dataset("fashion_mnist", n_val=10_000)
    data = replace(data, train={name: array[: options.n_train] for name, array in data.train.items()})
    epochs = {"float_epochs": options.float_epochs, "quantized_epochs": options.quantized_epochs}
    return data, Schedule(**epochs, batch_size=options.batch_size)


def fit(
    space: SearchSpace,
    data: Dataset,
    schedule: Schedule,
    checkpoint: Path,
    seed: int,
    sample: Callable[[float, np.random.Generator], list[Graph]] | None = None,
) -> tuple[Supernet, float]:
    """Train and return the supernet and the minutes it took since it was started or resumed."""
    supernet = Supernet(space, torch.Generator().manual_seed(seed))
    supernet.set_input_statistics(*data.input_statistics())
    identity: dict[str, Any] = {"seed": seed, "n_train": data.size("train"), "float_epochs": schedule.float_epochs}
    identity |= {"batch_size": schedule.batch_size, "n_random": schedule.n_random}
    start = perf_counter()
    with progress_bar(checkpoint.stem) as update:
        plan = {"seed": seed, "checkpoint": checkpoint, "identity": identity, "sample": sample, "progress": update}
        train(supernet, Classification.of(data), data, schedule, **plan)
    return supernet.eval(), (perf_counter() - start) / 60
