"""`hwnas spaces` and `hwnas devices`."""

import os
from pathlib import Path

from rich.table import Column, Table

from latency_tables.runtimes import RUNTIMES
from latency_tables.runtimes.machine import cpu_model, has_vnni
from latency_tables.table.latency_model import iterate_parts
from nas.objectives.table_files import read_table
from nas.report.console import terminal
from search_spaces import SPACES
from search_spaces.errors import HwnasError
from search_spaces.space.baselines import formats


def list_spaces() -> None:
    """Print every registered space with its size."""
    table = Table(Column("space", no_wrap=True), "networks", "choices", "parts", "formats")
    for name in SPACES:
        space = SPACES.get(name)()
        n_parts = sum(1 for _ in iterate_parts(space))
        table.add_row(name, f"{space.size:.3g}", str(len(space.choices)), str(n_parts), ", ".join(formats(space)))
    terminal().print(table)


def list_devices(folder: Path) -> None:
    """Print the machine, the runtimes found on it, and the tables in a folder."""
    console = terminal()
    console.print(f"{cpu_model()}, {os.cpu_count()} cores, VNNI {'yes' if has_vnni() else 'no'}")
    table, missing = Table(Column("runtime", no_wrap=True), "version", "integers computed as such"), []
    for name in RUNTIMES:
        backend = RUNTIMES.get(name)
        try:
            version = backend.version()
        except HwnasError as error:
            version = "not here"
            missing.append(f"{name}: {error}")
        table.add_row(name, version, ", ".join(backend.integer_kernels) or "none: smaller file, no faster")
    console.print(table)
    for reason in missing:
        console.print(reason, soft_wrap=True)
    files = sorted(folder.glob("*/*.json"))
    console.print(f"{len(files)} tables in {folder}", soft_wrap=True)
    for file in files:
        try:
            found = read_table(file)
            state = "valid" if found.report.is_valid else "not valid"
            text = f"{found.space} on {found.device}: {found.report.mape:.1f} % mean error, {state}"
            console.print(f"  {text}", soft_wrap=True)
        except HwnasError as error:
            console.print(f"  {error}", soft_wrap=True)
    console.print("tables of a run lie in RUN/latency", soft_wrap=True)
