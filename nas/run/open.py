"""Open the folder of a run, whatever its networks come from."""

from collections.abc import Sequence
from pathlib import Path

from nas.data.load import expanded
from nas.run.base import BaseRun
from nas.run.folder import RunFolder
from search_spaces.errors import InvalidInputError


def open_run(folder: str | Path, *, overrides: Sequence[str] = ()) -> BaseRun:
    """Open the folder of a run: `nas.open_run("runs/digits").front(max={"latency_ms": 2})` is a pandas DataFrame.

    One of a model that was trained elsewhere is an `Adoption`, and needs no torch. `overrides` are as for `Run.open`.

    Raises:
        InvalidInputError: If it is no run folder.
        DamagedFileError: If its experiment is damaged.
    """
    if not isinstance(folder, str | Path):
        raise InvalidInputError(f"a run folder is a path, got {folder!r:.80}")
    if RunFolder.open(expanded(str(folder))).experiment.adopt.is_set:
        from nas.run.adoption import Adoption

        return Adoption.open(folder, overrides=overrides)
    from nas.run.run import Run

    return Run.open(folder, overrides=overrides)
