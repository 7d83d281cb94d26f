"""The supernet of a run: new, trained, and what a file of its weights must agree with."""

from dataclasses import asdict
from typing import Any

import torch

from nas.data.dataset import Dataset
from nas.events.files import file_digest
from nas.run.experiment import Experiment
from nas.run.folder import RunFolder
from nas.supernet.groups import PREFIX
from nas.supernet.supernet import Supernet
from nas.tasks import TASKS
from nas.training.checkpoint import load_tensors
from nas.training.trainer import check_identity, load_supernet
from search_spaces.errors import NotReadyError
from search_spaces.precision.scheme import QuantScheme
from search_spaces.space.baselines import formats
from search_spaces.space.space import SearchSpace

GROUPS = "-qmax - 1..qmax"  # integers of weights in groups, which were symmetric before


def training_identity(folder: RunFolder, space: SearchSpace, data: Dataset) -> dict[str, Any]:
    """Return what a checkpoint or a supernet must agree with to be one of this run, and of its round."""
    experiment = folder.experiment
    identity = {
        "space": space.name,
        "space_digest": space.digest,
        "formats": formats(space),
        "seed": experiment.seed,
        "data": data.digest,
        "training": asdict(folder.schedule),
    }
    if (task := TASKS.get(experiment.task).name) != "classification":  # files of a version before name no task
        identity["task"] = task
    return identity


def new_supernet(experiment: Experiment, space: SearchSpace, data: Dataset) -> Supernet:
    """Return the supernet as it is before training, with random weights."""
    seeded = torch.Generator().manual_seed(experiment.seed)
    supernet = Supernet(space, seeded, experts=experiment.training.experts)
    supernet.set_input_statistics(*data.input_statistics())
    return supernet


def trained_supernet(folder: RunFolder, space: SearchSpace, data: Dataset) -> Supernet:
    """Return the trained supernet of a run.

    Raises:
        NotReadyError: If there is none yet.
        DamagedFileError: If its file is damaged.
        InvalidInputError: If it is of another training.
    """
    supernet = new_supernet(folder.experiment, space, data)
    tensors = _trained_tensors(folder, space, data)
    rounded = {name: tensors.pop(name) for name in list(tensors) if name.startswith(f"{PREFIX}:")}
    load_supernet(supernet, tensors, folder.supernet)
    supernet.groups.restore(rounded)
    return supernet.eval()


def weights_identity(folder: RunFolder, space: SearchSpace, data: Dataset) -> dict[str, str]:
    """Return what measurements of a run depend on: its weights and how each network is calibrated.

    Raises:
        NotReadyError: If there is no trained supernet.
        DamagedFileError: If it is not whole: it is named, not taken for another one.
    """
    _trained_tensors(folder, space, data)
    n_calibration = folder.experiment.search.n_calibration
    identity = {"supernet": file_digest(folder.supernet), "n_calibration": str(n_calibration)}
    schemes = map(QuantScheme.from_name, formats(space))
    if any(scheme.is_grouped and scheme.is_sub8bit for scheme in schemes):
        identity["groups"] = GROUPS
    return identity


def _trained_tensors(folder: RunFolder, space: SearchSpace, data: Dataset) -> dict[str, torch.Tensor]:
    if not folder.supernet.exists():
        raise NotReadyError(f"'{folder.path}' has no trained supernet; train it with `hwnas train {folder.path}`")
    tensors, facts = load_tensors(folder.supernet)
    check_identity(facts, training_identity(folder, space, data), folder.supernet)
    return tensors
