"""One network of a space trained by itself, in several formats that share a float stage."""

import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from nas.data.dataset import Dataset
from nas.events.progress import progress_bar
from nas.supernet.supernet import Supernet
from nas.tasks.task import Task
from nas.training.schedule import Schedule
from nas.training.trainer import train
from search_spaces import SearchSpace
from search_spaces.space.baselines import format_genes
from search_spaces.space.choice import Choice
from search_spaces.space.space import Genomes


def alone(space: SearchSpace, genome: Genomes, formats: Iterable[str] = ()) -> SearchSpace:
    """Return a space of one architecture, in float32, in the formats of its genome, and in others."""
    genes, choices = set(format_genes(space)), []
    for gene, (choice, index) in enumerate(zip(space.choices, genome, strict=True)):
        option = choice.options[index]
        offered = tuple(dict.fromkeys(("float32", option, *formats))) if gene in genes else (option,)
        choices.append(Choice(choice.name, offered))
    return SearchSpace(space.name, choices, space.slots, space.conditions)


def in_format(space: SearchSpace, genome: Genomes, name: str) -> Genomes:
    """Return a network with all its blocks in one format."""
    changed = genome.copy()
    for gene in format_genes(space):
        changed[gene] = space.choices[gene].options.index(name)
    canonical: Genomes = space.canonicalize(changed[None])[0]
    return canonical


def train_in_format(
    narrow: SearchSpace, name: str, task: Task, data: Dataset, schedule: Schedule, checkpoint: Path, seed: int
) -> tuple[Supernet, Genomes]:
    """Train the network of a space of one in float32, then quantization-aware; the float stage once for all formats.

    Args:
        narrow: What `alone` gives.
        name: Format of the quantized stage.
        task: See `train`.
        data: Its training split is used.
        schedule: Of both stages.
        checkpoint: Path to which the stage and the seed are added.
        seed: Of weights and batches.
    """
    genomes = [in_format(narrow, np.zeros(len(narrow.choices), np.int16), each) for each in ("float32", name)]
    graphs = [narrow.subnet(genome).graph for genome in genomes]
    shared, own = (checkpoint.with_name(f"{checkpoint.name}-{stage}-{seed}.safetensors") for stage in ("float", name))
    for file, settings in ((shared, replace(schedule, quantized_epochs=0)), (own, schedule)):
        if file == own and not own.exists():
            shutil.copy(shared, own)
        supernet = Supernet(narrow, torch.Generator().manual_seed(seed))
        supernet.set_input_statistics(*data.input_statistics())
        with progress_bar(file.stem) as update:
            train(
                supernet,
                task,
                data,
                settings,
                seed=seed,
                checkpoint=file,
                identity={"size": checkpoint.name, "seed": seed},
                sample=lambda epoch, rng: [graphs[schedule.is_quantized(epoch)]],
                progress=update,
            )
    return supernet.eval(), genomes[1]
