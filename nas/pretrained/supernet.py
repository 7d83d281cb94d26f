"""The supernet of a model that was trained elsewhere: its weights, sorted so that the first of everything matter most."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nas.data.dataset import Dataset
from nas.events.progress import progress_bar
from nas.pretrained.llama import Llama
from nas.supernet.repair import N_ROUNDING, repair
from nas.supernet.sorting import sort_by_importance
from nas.supernet.supernet import Supernet
from nas.training.checkpoint import save_tensors

N_SORTING = 8  # windows of training text that tell what matters


def save_pretrained(path: Path, supernet: Supernet, model: Llama, data: Dataset, identity: Mapping[str, Any]) -> None:
    """Put a model's weights into a supernet, sort them, round them to few bits, and write all of it.

    Args:
        path: File of the supernet.
        supernet: Of the model's space; changed in place.
        model: The model.
        data: Its training text tells what matters.
        identity: Goes into the file.
    """
    load_weights(supernet, model.weights)
    windows = torch.from_numpy(data.train[data.inputs][:N_ROUNDING])
    sort_by_importance(supernet, windows[:N_SORTING])
    with progress_bar("rounding") as update:
        repair(supernet, windows, progress=lambda done, total: update(done, total, "matrices"))
    save_tensors(path, supernet.state_dict() | supernet.groups.tensors(), {**identity, "records": []})


@torch.no_grad()
def load_weights(supernet: Supernet, weights: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Put weights by `NODE/ROLE` into a supernet.

    Raises:
        KeyError: If one is missing.
    """
    for name, parameter in supernet.shared.items():
        parameter.copy_(torch.from_numpy(np.array(weights[name])))
