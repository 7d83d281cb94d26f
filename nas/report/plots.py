"""Pictures: the front, and a latency table's predictions against what was measured."""

import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from latency_tables.table.table import LatencyTable
from nas.objectives.columns import Column, latencies
from nas.report.table import steering
from nas.search.study import SearchResult

TICKS = (1, 1.5, 2, 3, 5, 7)  # of each decade


@dataclass(frozen=True, eq=False)
class Plot:
    """A picture that a notebook shows, and that needs no display.

    Attributes:
        figure: Of matplotlib.
    """

    figure: Figure

    @cached_property
    def png(self) -> bytes:
        """The picture as PNG."""
        content = io.BytesIO()
        self.figure.savefig(content, format="png", dpi=110)
        return content.getvalue()

    def save(self, path: str | Path) -> None:
        """Write the picture; its suffix says in which format, as `front.svg`."""
        self.figure.savefig(Path(path).expanduser())

    def _repr_png_(self) -> bytes:
        return self.png


def front_plot(front: pd.DataFrame, measured: pd.DataFrame, baselines: pd.DataFrame, title: str) -> Plot:
    """Draw a metric against latency and against size: everything measured, the front, and the baselines.

    Args:
        front: Networks of the front.
        measured: All networks with a measured latency.
        baselines: With their names in column `baseline`.
        title: Over the picture.
    """
    metric = steering(front)
    axes = [*latencies(front), Column("size_bytes")]
    figure = Figure(figsize=(6 * len(axes), 5), layout="constrained")
    panels = figure.subplots(1, len(axes), squeeze=False)[0]
    for panel, axis in zip(panels, axes, strict=True):
        column = axis.name
        panel.scatter(measured[column], measured[metric.name], s=14, color="0.7", label="timed")
        kinds = baselines.groupby(baselines["baseline"].str.split().str[0], sort=False)
        for i, (precision, group) in enumerate(kinds):
            line = group.sort_values(column)
            panel.plot(line[column], line[metric.name], f"C{i}x:", label=f"uniform {precision}")
        panel.scatter(front[column], front[metric.name], s=26, color="black", label="front", zorder=3)
        panel.set(xlabel=_title(axis), ylabel=_title(metric), xscale="log")
        panel.xaxis.set_major_locator(LogLocator(subs=TICKS))
        panel.xaxis.set_minor_locator(NullLocator())
        panel.xaxis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
        panel.tick_params(axis="x", labelrotation=45, labelsize="small")
        panel.grid(alpha=0.3)
    panels[0].legend(fontsize="small")
    figure.suptitle(title)
    return Plot(figure)


def plot(result: SearchResult) -> Plot:
    """Draw the first objective of a search against each other one: everything measured, and the front.

    Args:
        result: Of `nas.optimize` or a run's search.
    """
    measured, first, *others = result.measurements, *result.objectives
    figure = Figure(figsize=(6 * max(len(others), 1), 5), layout="constrained")
    panels = figure.subplots(1, max(len(others), 1), squeeze=False)[0]
    best = result.front_rows
    for panel, other in zip(panels, others or [first], strict=True):
        panel.scatter(measured[other], measured[first], s=14, color="0.7", label="measured")
        panel.scatter(measured[other][best], measured[first][best], s=26, color="black", label="front", zorder=3)
        panel.set(xlabel=_title(other), ylabel=_title(first))
        panel.grid(alpha=0.3)
    panels[0].legend(fontsize="small")
    return Plot(figure)


def table_plot(table: LatencyTable, title: str) -> Plot:
    """Draw predicted against measured milliseconds of a table's held-out networks, with lines at 10 % error."""
    figure = Figure(figsize=(6, 5.5), layout="constrained")
    panel = figure.subplots()
    measured, predicted = np.array(table.report.held_out).T
    ends = np.array([measured.min() * 0.9, measured.max() * 1.1])
    panel.plot(ends, ends, "0.5", linewidth=1)
    for error in (0.9, 1.1):
        panel.plot(ends, error * ends, "0.7", linestyle=":", linewidth=1)
    panel.scatter(measured, predicted, s=20, color="black")
    panel.set(xlabel="measured (ms)", ylabel="predicted (ms); dotted: 10 % off")
    panel.set_title(title, fontsize="small", wrap=True)
    return Plot(figure)


def _title(column: Column) -> str:
    unit = column.quantity.unit
    return f"{column.title} ({unit})" if unit else column.title
