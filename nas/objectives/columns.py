"""Columns of measurements: their schema, and their names in tables and files.

A name is made of its parts here and taken apart here, nowhere else: `error_val`, `latency_ms_predicted@pi`,
`latency_spread`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pandas as pd

from search_spaces.errors import InvalidInput


@dataclass(frozen=True)
class Metric:
    """A quantity that a column holds.

    Attributes:
        label: Its name for people.
        unit: Of its values; empty where they count something.
        digits: Decimals that are shown.
        is_whole: True if its values are whole numbers.
        is_estimated: True if an accelerator's cost model gives it, so that it is there only where an experiment has one.
    """

    label: str
    unit: str = ""
    digits: int = 4
    is_whole: bool = False
    is_estimated: bool = False


METRICS = {
    "error": Metric("error", "%", 2),
    "latency_ms": Metric("latency", "ms"),
    "size_bytes": Metric("packed weights", "bytes", 0, is_whole=True),
    "macs": Metric("multiply-accumulates", "", 0, is_whole=True),
    "estimated_ms": Metric("estimated latency", "ms", is_estimated=True),
    "estimated_mj": Metric("estimated energy", "mJ", is_estimated=True),
}
SPLITS = {"val": "validation", "test": "test"}


@dataclass(frozen=True)
class Column:
    """What a column holds.

    Attributes:
        metric: A key of `METRICS`, or a name of a user's own.
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
        if base == "latency_spread":
            return cls("latency_ms", device=device, is_spread=True)
        metric, _, split = predicted.rpartition("_")
        if metric and split in SPLITS:
            return cls(metric, split, device, predicted != base)
        return cls(predicted, "", device, predicted != base)

    @classmethod
    def of_objective(cls, name: str) -> "Column":
        """Return the measured column of an objective of an experiment: errors steer a search by the validation split."""
        return cls("error", "val") if name == "error" else cls.from_name(name)

    @property
    def quantity(self) -> Metric:
        """Label, unit and decimals of the metric."""
        return METRICS.get(self.metric, Metric(self.metric))

    @property
    def label(self) -> str:
        """The name for people: `validation error`, `predicted latency on pi`."""
        before = f"{SPLITS[self.split]} " if self.split else "predicted " if self.is_predicted else ""
        spread = "spread of the " if self.is_spread else ""
        return f"{before}{spread}{self.quantity.label}{f' on {self.device}' if self.device else ''}"

    @property
    def spread(self) -> "Column":
        """The column of its spread."""
        return replace(self, is_spread=True)

    @property
    def predicted(self) -> "Column":
        """The column of its prediction."""
        return replace(self, is_predicted=True)


LATENCY = Column("latency_ms")
ERROR = Column("error", "val")
TEST_ERROR = Column("error", "test")
NEEDED = (ERROR, TEST_ERROR, LATENCY, LATENCY.spread, LATENCY.predicted, Column("size_bytes"), Column("macs"))  # of a front


def number_columns(table: pd.DataFrame) -> list[Column]:
    """Return the columns of a table that hold numbers of networks, not choices, those that every front has first."""
    found = [Column.from_name(str(name)) for name in table if "/" not in str(name)]
    known = [column for column in found if column.metric in METRICS]
    order = [*NEEDED, *(Column(name) for name, metric in METRICS.items() if metric.is_estimated)]
    return sorted(known, key=lambda column: order.index(column) if column in order else len(order))


def numbers(table: pd.DataFrame) -> list[str]:
    """Return the names of `number_columns`."""
    return [column.name for column in number_columns(table)]


def select(table: pd.DataFrame, upper: Mapping[str, float], lower: Mapping[str, float]) -> pd.DataFrame:
    """Return the rows that satisfy upper and lower bounds by column.

    Raises:
        InvalidInput: If a column does not exist or holds no numbers.
    """
    for name in [*upper, *lower]:
        if name not in numbers(table):
            known = ", ".join(numbers(table))
            raise InvalidInput(f"cannot limit '{name}'; the columns of numbers are {known}")
    for name, bound in upper.items():
        table = table[table[name] <= bound]
    for name, bound in lower.items():
        table = table[table[name] >= bound]
    return table.reset_index(drop=True)
