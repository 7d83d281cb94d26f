"""hwnas: train a supernet, search it, measure the front, export subnets.

`nas.open_run` opens a finished run; it is imported on first use, so that importing this package loads nothing heavy.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.run.folder import RunFolder


def __getattr__(name: str) -> Any:
    if name == "open_run":
        return _open_run
    raise AttributeError(f"module 'nas' has no attribute '{name}'")


def _open_run(path: str | Path) -> "RunFolder":
    """Open a run folder: `nas.open_run("runs/digits").front(max={"latency_ms": 2})` is a pandas DataFrame."""
    from nas.run.folder import RunFolder

    return RunFolder.open(Path(path))
