"""Columns of measurements: their schema, and their names in tables and files.

A name is made of its parts here and taken apart here, nowhere else: `error_val`, `latency_ms_predicted@pi`,
`latency_spread`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas.objectives.objective import Objective
from nas.tasks import METRICS, Metric, metric_of
from search_spaces.costs import FactorTable
from search_spaces.errors import InvalidInputError

SPLITS = {"val": "validation", "test": "test"}


@dataclass(frozen=True)
class Column:
    """What a column holds.

    Attributes:
        metric: Name of a metric, see `nas.tasks.METRICS`.
        split: `val` or `test` for a metric of data; otherwise empty.
        device: A further device of the run; empty for its first, and for what no device decides.
        is_predicted: True for a table's prediction of what is measured, too.
        is_spread: True for the relative spread of the measurements, a share of their value.
    """

    metric: str
    split: str = ""
    device: str = ""
    is_predicted: bool = False
    is_spread: bool = False

    @property
    def name(self) -> str:
        """The name in tables and files."""
        base = f"{self.metric.removesuffix('_ms')}_spread" if self.is_spread else self.metric
        split = f"_{self.split}" if self.split else ""
        return f"{base}{split}{'_predicted' if self.is_predicted else ''}{f'@{self.device}' if self.device else ''}"

    @classmethod
    def from_name(cls, name: str) -> "Column":
        """Return the column of that name; any name is one."""
        base, _, device = name.partition("@")
        predicted = base.removesuffix("_predicted")
        timed = f"{base.removesuffix('_spread')}_ms"
        if base.endswith("_spread") and metric_of(timed).is_latency:
            return cls(timed, device=device, is_spread=True)
        metric, _, split = predicted.rpartition("_")
        if metric and split in SPLITS:
            return cls(metric, split, device, predicted != base)
        return cls(predicted, "", device, predicted != base)

    @classmethod
    def of_objective(cls, name: str) -> "Column":
        """Return the measured column of an objective: a metric of the data steers a search by the validation split."""
        return cls(name, "val") if name in METRICS and METRICS[name].of_data else cls.from_name(name)

    @property
    def quantity(self) -> Metric:
        """Title, unit and decimals of the metric."""
        return metric_of(self.metric)

    @property
    def title(self) -> str:
        """The name for people: `validation error`, `predicted latency on pi`."""
        before = f"{SPLITS[self.split]} " if self.split else "predicted " if self.is_predicted else ""
        spread = "spread of the " if self.is_spread else ""
        return f"{before}{spread}{self.quantity.title}{f' on {self.device}' if self.device else ''}"

    @property
    def spread(self) -> "Column":
        """The column of its spread."""
        return replace(self, is_spread=True)

    @property
    def predicted(self) -> "Column":
        """The column of its prediction."""
        return replace(self, is_predicted=True)


LATENCY = Column("latency_ms")
EXACT = (Column("size_bytes"), Column("macs"))


def latency_column(phase: str, device: str = "") -> Column:
    """Return the latency of a phase, or the latency where networks are run in one way; of a further device by its name."""
    return Column(f"{phase}_ms" if phase else LATENCY.metric, device=device)


def with_its_own(latency: Column) -> tuple[Column, Column, Column]:
    """Return a latency, its spread and its prediction."""
    return latency, latency.spread, latency.predicted


def latencies(table: pd.DataFrame) -> list[Column]:
    """Return the measured latencies of the first device that a table has, or where it has none the predicted ones."""
    found = [c for c in map(Column.from_name, map(str, table)) if c.quantity.is_latency and not (c.device or c.is_spread)]
    return [c for c in found if not c.is_predicted] or found


def minimized(column: Column, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values as a search minimises them: those of a metric that is maximised are turned, here and nowhere else.

    Called again it gives the values back.
    """
    return values if column.quantity.sign > 0 else -values


def minimized_columns(table: pd.DataFrame, names: Sequence[str]) -> NDArray[np.float64]:
    """Return columns of a table as a search minimises them, shape `(n, m)`."""
    return np.column_stack([minimized(Column.from_name(name), table[name].to_numpy(float)) for name in names])


def minimized_objective(name: str, function: Objective) -> Objective:
    """Return an objective as a search minimises it; a sum of tables stays one."""
    if Column.of_objective(name).quantity.sign > 0:
        return function
    return -function if isinstance(function, FactorTable) and not function.takes_max else lambda genomes: -function(genomes)


def number_columns(table: pd.DataFrame) -> list[Column]:
    """Return the columns of a table that hold numbers of networks, not choices, those that every front has first."""
    found = [Column.from_name(str(name)) for name in table if "/" not in str(name)]
    known = [column for column in found if column.metric in METRICS or column.split]
    own = dict.fromkeys(c.metric for c in known if c.quantity.is_latency)
    timed = [column for metric in own for column in with_its_own(Column(metric))]
    order = [*timed, *EXACT, *(Column(name) for name, metric in METRICS.items() if metric.is_estimated)]
    ranks = {column: rank for rank, column in enumerate(order)}
    return sorted(known, key=lambda column: -1 if column.split else ranks.get(column, len(order)))


def numbers(table: pd.DataFrame) -> list[str]:
    """Return the names of `number_columns`."""
    return [column.name for column in number_columns(table)]


def in_full(name: str, known: Sequence[str]) -> str:
    """Return the column that a user's name stands for: that of a metric alone is its value in validation."""
    column = Column(name, "val").name
    return column if column in known and name not in known else name


def select(table: pd.DataFrame, upper: Mapping[str, float], lower: Mapping[str, float]) -> pd.DataFrame:
    """Return the rows that satisfy upper and lower bounds by column, see `in_full`.

    Raises:
        InvalidInputError: If a column does not exist or holds no numbers.
    """
    known = numbers(table)
    for name, bound, sign in [*((n, b, 1) for n, b in upper.items()), *((n, b, -1) for n, b in lower.items())]:
        column = in_full(name, known)
        if column not in known:
            raise InvalidInputError(f"cannot limit '{name}'; the columns of numbers are {', '.join(known)}")
        table = table[sign * table[column] <= sign * bound]
    return table.reset_index(drop=True)
