"""Latency tables measured outside a run, in the user's data folder or where `--tables` says."""

from pathlib import Path

import platformdirs

from latency_tables.device import Device
from latency_tables.table import LatencyTable
from nas.config import Experiment
from nas.pipeline import measure_table
from nas.progress import console
from nas.report.table import print_verdict
from nas.run_folder import read_table
from search_spaces import SPACES


def tables_folder(folder: str | None = None) -> Path:
    """Return the folder of tables; it need not exist."""
    return Path(folder) if folder else Path(platformdirs.user_data_dir("hwnas")) / "tables"


def measure_space(name: str, threads: int, folder: str | None, *, again: bool = False) -> LatencyTable:
    """Measure a table of a space with its own image shape, or read the one that is there.

    Args:
        name: A registered space.
        threads: Threads of one network.
        folder: Where tables lie; None is the user's data folder.
        again: Measure even if there is a table.
    """
    space = SPACES.get(name)()
    device = Device(threads=threads)
    path = tables_folder(folder) / space.name / f"{device.name}.json"
    if path.exists() and not again:
        table = read_table(path)
        table.check_device(device.fingerprint())
        table.factor_table(space)
    else:
        table = measure_table(space, device, Experiment(name=name), path)
    print_verdict(table, console)
    console.print(f"table: {path}", highlight=False, soft_wrap=True)
    return table
