"""From what a user gives, an experiment or its YAML file, to an experiment that a run can keep."""

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas.archive.storage import has_study, owner, without_password
from nas.data.load import expanded
from nas.events import distributed
from nas.run.experiment import Experiment
from nas.run.folder import RunFolder
from nas.run.names import checked
from nas.run.yaml import override
from search_spaces import InvalidInputError


def resolve_experiment(
    experiment: Experiment | Mapping[str, Any] | str | Path, folder: str | Path | None, overrides: Sequence[str]
) -> tuple[Experiment, Path]:
    """Return an experiment with absolute paths of plug-ins, whose names are all known, and its run folder.

    Args:
        experiment: An experiment, its keys and values, or a YAML file.
        folder: None: `runs/NAME`.
        overrides: See `Experiment.from_yaml`.

    Raises:
        InvalidInputError: If something in it is wrong.
    """
    if not isinstance(experiment, Experiment | Mapping | str | Path):
        raise InvalidInputError(f"an experiment is a YAML file, keys and values, or an Experiment; got {experiment!r:.80}")
    if isinstance(overrides, str) or not isinstance(overrides, Sequence):
        raise InvalidInputError(f"overrides are a list, as ['training.float_epochs=2']; got {overrides!r:.80}")
    if isinstance(experiment, str | Path):
        resolved = Experiment.from_yaml(Path(experiment), overrides)
    else:
        content = experiment.to_dict() if isinstance(experiment, Experiment) else _plain(experiment)
        for change in overrides:
            override(content, change)
        resolved = Experiment.from_dict(content, "experiment")
    resolved = checked(resolved)
    return resolved, expanded(str(folder)) if folder else Path("runs") / resolved.name


def _plain(value: Any) -> Any:
    """Return plain values, as YAML holds them, of those that a notebook may give; a copy."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        return value.item()
    return str(value) if isinstance(value, Path) else value


def create_folder(path: Path, experiment: Experiment, fingerprint: Mapping[str, Any]) -> RunFolder:
    """Make the folder of a run, in the first of several processes that have joined first.

    Raises:
        InvalidInputError: If the folder holds another experiment, or what is no run; or another run has its name in a
            database that runs share.
    """
    distributed.main_first(lambda: _claim_name(RunFolder(path, experiment)))
    return distributed.main_first(lambda: RunFolder.create(path, experiment, fingerprint))


def _claim_name(folder: RunFolder) -> None:
    """Claim a run's name in a database that runs share, before anything is written, trained or measured."""
    name, storage = folder.experiment.name, folder.experiment.archive
    if not storage or folder.supernet.exists():
        return
    me = f"{platform.node()}:{folder.path.resolve()}"
    if owner(storage, f"{name}: run", me) != me or has_study(storage, f"{name}: {folder.experiment.metric.name}"):
        raise InvalidInputError(
            f"the archive '{without_password(storage)}' holds another run named '{name}'; change `name` in the experiment"
        )
