"""`hwnas front`: rows of the measured front that keep limits, for people or for programs."""

import math
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from nas.report.table import print_front, print_verdict, to_text
from nas.run_folder import RunFolder, numbers, read_table
from search_spaces.errors import InvalidInput


def print_query(path: Path, greatest: Sequence[str], least: Sequence[str], best: str | None, form: str) -> None:
    """Print the rows of a run's front that keep every limit.

    Args:
        path: Run folder.
        greatest: `NAME=VALUE`, upper limits.
        least: `NAME=VALUE`, lower limits.
        best: Column of which only the row with the least value is printed; ties go to the first row.
        form: `table`, `csv` or `json`.

    Raises:
        InvalidInput: If the folder is no run, a limit is malformed, or no row keeps the limits.
    """
    run = RunFolder.open(path)
    upper, lower = _limits("--max", greatest), _limits("--min", least)
    front = run.front(max=upper, min=lower)
    if front.empty:
        everything = run.front()
        reach = ", ".join(f"{n} is {everything[n].min():g} to {everything[n].max():g}" for n in [*upper, *lower])
        raise InvalidInput(f"no network of the front keeps these limits; on the front {reach}")
    if best is not None:
        if best not in numbers(front):
            raise InvalidInput(f"--best must be one of {', '.join(numbers(front))}; got '{best}'")
        front = front.loc[[front[best].idxmin()]].reset_index(drop=True)
    table_path = run.table_path(run.experiment.device.name)
    if form == "table":
        print_front(front, run.baselines(), Console())
    else:
        print(to_text(front, form).rstrip())
    if table_path.exists():
        print_verdict(read_table(table_path), Console(stderr=True))


def _limits(option: str, texts: Sequence[str]) -> dict[str, float]:
    limits = {}
    for text in texts:
        name, equals, value = text.partition("=")
        try:
            limits[name] = float(value)
        except ValueError:
            equals = ""
        if not equals or math.isnan(limits.get(name, math.nan)):
            raise InvalidInput(f"{option} takes NAME=VALUE with a number, as latency_ms=0.5; got '{text}'")
    return limits
