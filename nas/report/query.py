"""`hwnas front`: rows of the measured front that satisfy constraints, for people or for programs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from latency_tables.table.table import LatencyTable
from nas.events.renamed import renamed_columns
from nas.objectives.columns import in_full, minimized_columns, numbers, select
from nas.report.console import terminal
from nas.report.recommended import parsed_weights, recommendation_lines, recommended
from nas.report.table import describe, print_front, print_validation, to_text
from nas.search.pareto import knee, non_dominated
from search_spaces.errors import InvalidInputError, NothingFoundError, did_you_mean


@dataclass(frozen=True, kw_only=True)
class Query:
    """A query of a front: constraints, order, rows and columns.

    Attributes:
        max: `NAME=VALUE`, upper bounds.
        min: `NAME=VALUE`, lower bounds.
        sort: Column to sort by, from the best value; empty: as the front is.
        best: Column of which only the row with the best value is kept; ties go to the first row. Empty: all rows.
        knee: Keep only the row behind which every objective costs most of the others.
        prefer: `NAME=WEIGHT,...`: keep only the row that these weights of objectives name; empty: all rows.
        columns: Names of columns to give, in this order; none: all.
        against: Another run, empty for none: its front is told beside, and which rows it beats, in column `beaten`.
        baselines: Give the uniform networks too, after the rows, named in column `baseline`; a table has them below.
    """

    max: Sequence[str] = ()
    min: Sequence[str] = ()
    sort: str = ""
    best: str = ""
    knee: bool = False
    prefer: str = ""
    columns: Sequence[str] = ()
    against: str = ""
    baselines: bool = False


@dataclass(frozen=True)
class Scores:
    """A front, and what it is compared with.

    Attributes:
        front: A row for each network.
        baselines: The uniform networks, with their names in column `baseline`.
        objectives: Columns that the front minimises.
        table: The latency table behind it; None where there is none.
        data: What the metrics were measured on.
        ranked: Columns that say which network beats which, where these are others; empty: the objectives.
    """

    front: pd.DataFrame
    baselines: pd.DataFrame
    objectives: Sequence[str]
    table: LatencyTable | None
    data: Mapping[str, object]
    ranked: Sequence[str] = ()

    def compared_by(self, other: "Scores") -> Sequence[str]:
        """Return the columns by which networks of two fronts are compared."""
        return self.ranked if self.ranked and all(name in other.front for name in self.ranked) else self.objectives


def print_query(name: str, scores: Scores, query: Query, form: str, other: Scores | None = None) -> None:
    """Print the rows of a front that are asked for.

    Args:
        name: What the front is called: its run folder.
        scores: The front.
        query: What is asked for.
        form: `table`, `csv` or `json`.
        other: The front of the run that `query.against` names.

    Raises:
        InvalidInputError: If a limit is malformed, a column does not exist, or the other run is of other data.
        NothingFoundError: If no row satisfies the constraints.
    """
    rows, tables = _rows(scores, query), [scores.table]
    if other is not None:
        _check_comparable(scores, other, query.against)
        rows["beaten"] = _beaten(rows, other.front, scores.compared_by(other))
        terminal(stderr=True).print(_comparison(name, scores, query.against, other, rows))
        tables.append(other.table)
    if form == "table" and not query.columns:
        print_front(scores.front, scores.baselines, rows)
    else:
        rows = pd.concat([rows, scores.baselines], ignore_index=True) if query.baselines else rows
        there = [str(name) for name in rows]
        rows = rows[_known([in_full(name, there) for name in query.columns], there)] if query.columns else rows
        print((rows.to_string(index=False) if form == "table" else to_text(rows, form)).rstrip())
    for table in tables:
        if table:
            print_validation(table, terminal(stderr=True))


def _rows(scores: Scores, query: Query) -> pd.DataFrame:
    upper, lower = _constraints("--max", query.max), _constraints("--min", query.min)
    front = select(scores.front, upper, lower)
    known = numbers(scores.front)
    if front.empty:
        limited = {name: scores.front[in_full(name, known)] for name in [*upper, *lower]}
        reach = [f"{name} is {values.min():g} to {values.max():g}" for name, values in limited.items()]
        raise NothingFoundError(f"no network of the front satisfies these constraints; on the front {', '.join(reach)}")
    if query.sort:
        (name,) = _known([in_full(query.sort, known)], known, "--sort")
        front = front.loc[np.argsort(minimized_columns(front, [name])[:, 0], kind="stable")].reset_index(drop=True)
    if query.best:
        (best,) = _known([in_full(query.best, known)], known, "--best")
        front = front.loc[[int(np.argmin(minimized_columns(front, [best])[:, 0]))]].reset_index(drop=True)
    if query.knee:
        front = front.loc[[knee(minimized_columns(front, scores.objectives))]].reset_index(drop=True)
    if query.prefer:
        found = recommended(front, scores.objectives, parsed_weights(query.prefer))
        for line in recommendation_lines(front, scores.objectives, found):
            terminal(stderr=True).print(line)
        front = front.loc[[found.row]].reset_index(drop=True)
    return front


def _check_comparable(scores: Scores, other: Scores, name: str) -> None:
    """Refuse a run whose metrics mean something else; say where its latencies do."""
    if scores.data != other.data:
        theirs, mine = (" ".join(f"{key}={value}" for key, value in data.items()) for data in (other.data, scores.data))
        raise InvalidInputError(f"the fronts cannot be compared: '{name}' is of the data {theirs}; this run of {mine}")
    devices = [describe(table) if table else "no table" for table in (scores.table, other.table)]
    if devices[0] != devices[1]:
        terminal(stderr=True).print(f"take care, the devices differ: {devices[0]}; '{name}': {devices[1]}", style="bold red")


def _beaten(front: pd.DataFrame, other: pd.DataFrame, objectives: Sequence[str]) -> np.ndarray:
    """Return which rows a network of another front beats in every objective."""
    if missing := [name for name in objectives if name not in other]:
        raise InvalidInputError(f"the fronts cannot be compared: the other one has no {missing}")
    values = np.concatenate([minimized_columns(front, objectives), minimized_columns(other, objectives)])
    return ~non_dominated(values)[: len(front)]


def _comparison(name: str, scores: Scores, other_name: str, other: Scores, front: pd.DataFrame) -> str:
    names = scores.compared_by(other)
    beaten = _beaten(other.front, scores.front, names)
    return (
        f"by {', '.join(names)}: '{other_name}' beats {int(front['beaten'].sum())} of these {len(front)} "
        f"networks, '{name}' beats {int(beaten.sum())} of its {len(other.front)}"
    )


def _known(names: Sequence[str], known: Sequence[str], option: str = "--columns") -> list[str]:
    names = renamed_columns(names, f"{option} ")
    if unknown := [name for name in names if name not in known]:
        hint = did_you_mean(unknown[0], known)
        raise InvalidInputError(f"{option} must be one of {', '.join(known)}; got '{unknown[0]}'{hint}")
    return list(names)


def _constraints(option: str, texts: Sequence[str]) -> dict[str, float]:
    constraints: dict[str, float] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        (name,) = renamed_columns([name], f"{option} ")
        try:
            limit = float(value)
        except ValueError:
            limit = math.nan
        if not equals or math.isnan(limit):
            raise InvalidInputError(f"{option} takes NAME=VALUE with a number, as latency_ms=0.5; got '{text}'")
        if name in constraints:
            raise InvalidInputError(f"{option} of {name} is given twice, as {constraints[name]:g} and {limit:g}; give one")
        constraints[name] = limit
    return constraints
