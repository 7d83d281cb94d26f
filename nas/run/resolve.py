"""From what a user names, a run folder or an experiment's YAML file, to the pipeline of a run."""

import platform
from pathlib import Path

from nas.archive.storage import has_study, owner, without_password
from nas.data.load import expanded
from nas.events import distributed
from nas.run.experiment import Experiment
from nas.run.folder import RunFolder
from nas.run.pipeline import Pipeline
from nas.search.strategies import STRATEGIES
from nas.training.trainer import init_from
from predictors import PREDICTORS
from search_spaces import SPACES, InvalidInput


def open_run(folder: str) -> Pipeline:
    """Return the pipeline of a run folder.

    Raises:
        InvalidInput: If it is none.
    """
    return Pipeline(RunFolder.open(Path(folder)))


def open_pipeline(source: str, out: str | None = None, overrides: tuple[str, ...] = ()) -> Pipeline:
    """Return the pipeline of a run folder, or of an experiment's YAML file in a new or an existing folder.

    Args:
        source: A run folder or a YAML file.
        out: Folder for a YAML file; by default `runs/NAME`.
        overrides: `key=value`, see `Experiment.from_yaml`.
    """
    path = Path(source)
    if path.is_dir():
        if out:
            raise InvalidInput(f"'{source}' is a run folder: --out goes with an experiment's YAML file")
        return Pipeline(RunFolder.open(path).with_search(overrides))
    experiment = Experiment.from_yaml(path, overrides)
    SPACES.get(experiment.space)
    STRATEGIES.get(experiment.search.strategy)
    if experiment.search.predictors != "auto":
        PREDICTORS.get(experiment.search.predictors)
    folder = expanded(out) if out else Path("runs") / experiment.name
    pipeline = Pipeline(RunFolder(folder, experiment))
    _check(pipeline)
    device = pipeline.latency.device
    fingerprint = {"remote": device.name} if experiment.device.remote else device.fingerprint()
    distributed.main_first(lambda: _claim_name(pipeline))
    pipeline.run = distributed.main_first(lambda: RunFolder.create(folder, experiment, fingerprint))
    return pipeline


def _check(pipeline: Pipeline) -> None:
    """Check data, space, constraints and given weights, as far as that can be before anything is written."""
    pipeline.check_constraints(measured=False)
    given = pipeline.experiment.training.init_from
    if given and not (pipeline.run.checkpoint.exists() or pipeline.run.supernet.exists()):
        init_from(pipeline.new_supernet(), expanded(given))


def _claim_name(pipeline: Pipeline) -> None:
    """Claim a run's name in a database that runs share, before anything is written, trained or measured.

    Raises:
        InvalidInput: If another run has it.
    """
    name, storage = pipeline.experiment.name, pipeline.experiment.archive
    if not storage or pipeline.run.supernet.exists():
        return
    me = f"{platform.node()}:{pipeline.run.path.resolve()}"
    if owner(storage, f"{name}: run", me) != me or has_study(storage, f"{name}: error"):
        raise InvalidInput(
            f"the archive '{without_password(storage)}' holds another run named '{name}'; change `name` in the experiment"
        )
