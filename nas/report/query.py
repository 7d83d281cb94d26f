"""`hwnas front`: rows of the measured front that keep limits, for people or for programs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console

from nas.report.table import print_front, print_verdict, to_text
from nas.run_folder import RunFolder, numbers, read_table
from nas.search.pareto import knee, non_dominated
from search_spaces.errors import InvalidInput


@dataclass(frozen=True, kw_only=True)
class Query:
    """What of a front is asked for.

    Attributes:
        max: `NAME=VALUE`, upper limits.
        min: `NAME=VALUE`, lower limits.
        sort: Column to sort by, from the least value; empty: as the front is.
        best: Column of which only the row with the least value is kept; ties go to the first row. Empty: all rows.
        knee: Keep only the row behind which every objective costs most of the others.
        columns: Names of columns to give, in this order; none: all.
        against: Another run, empty for none: its front is told beside, and which rows it beats.
    """

    max: Sequence[str] = ()
    min: Sequence[str] = ()
    sort: str = ""
    best: str = ""
    knee: bool = False
    columns: Sequence[str] = ()
    against: str = ""


def print_query(path: Path, query: Query, form: str) -> None:
    """Print the rows of a run's front that are asked for.

    Args:
        path: Run folder.
        query: What is asked for.
        form: `table`, `csv` or `json`.

    Raises:
        InvalidInput: If a folder is no run, a limit is malformed, a column does not exist, or no row keeps the limits.
    """
    run = RunFolder.open(path)
    front = _rows(run, query)
    if query.against:
        other = RunFolder.open(Path(query.against))
        front["beaten"] = _beaten(front, other.front(), _objectives(run))
        Console(stderr=True).print(_comparison(run, other, front), highlight=False)
    table_path = run.table_path(run.experiment.device.name)
    if form == "table" and not query.columns:
        print_front(front, run.baselines(), Console())
    else:
        front = front[_known(query.columns, [str(name) for name in front])] if query.columns else front
        print((front.to_string(index=False) if form == "table" else to_text(front, form)).rstrip())
    if table_path.exists():
        print_verdict(read_table(table_path), Console(stderr=True))


def _rows(run: RunFolder, query: Query) -> pd.DataFrame:
    upper, lower = _limits("--max", query.max), _limits("--min", query.min)
    front = run.front(max=upper, min=lower)
    if front.empty:
        everything = run.front()
        reach = ", ".join(f"{n} is {everything[n].min():g} to {everything[n].max():g}" for n in [*upper, *lower])
        raise InvalidInput(f"no network of the front keeps these limits; on the front {reach}")
    if query.sort:
        front = front.sort_values(_known([query.sort], numbers(front), "--sort"), kind="stable", ignore_index=True)
    if query.best:
        (best,) = _known([query.best], numbers(front), "--best")
        front = front.loc[[front[best].idxmin()]].reset_index(drop=True)
    if query.knee:
        front = front.loc[[knee(front[_objectives(run)].to_numpy(float))]].reset_index(drop=True)
    return front


def _objectives(run: RunFolder) -> list[str]:
    """Return the columns that a run's search minimised."""
    return ["error_val" if name == "error" else name for name in run.experiment.search.objectives]


def _beaten(front: pd.DataFrame, other: pd.DataFrame, objectives: Sequence[str]) -> np.ndarray:
    """Return which rows a network of another front beats in every objective."""
    if missing := [name for name in objectives if name not in other]:
        raise InvalidInput(f"the fronts cannot be compared: the other one has no {missing}")
    values = np.concatenate([front[list(objectives)].to_numpy(float), other[list(objectives)].to_numpy(float)])
    return ~non_dominated(values)[: len(front)]


def _comparison(run: RunFolder, other: RunFolder, front: pd.DataFrame) -> str:
    theirs = other.front()
    beaten = _beaten(theirs, run.front(), _objectives(run))
    names = ", ".join(_objectives(run))
    return (
        f"by {names}: '{other.path}' beats {int(front['beaten'].sum())} of these {len(front)} networks, "
        f"'{run.path}' beats {int(beaten.sum())} of its {len(theirs)}"
    )


def _known(names: Sequence[str], known: Sequence[str], option: str = "--columns") -> list[str]:
    if unknown := [name for name in names if name not in known]:
        raise InvalidInput(f"{option} must be one of {', '.join(known)}; got '{unknown[0]}'")
    return list(names)


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
