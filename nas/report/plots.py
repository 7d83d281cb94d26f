"""Pictures: the front, and a latency table's predictions against what was measured."""

import io

import matplotlib
import numpy as np
import pandas as pd

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from latency_tables.table.table import LatencyTable
from nas.objectives.columns import LATENCY, Column

TICKS = (1, 1.5, 2, 3, 5, 7)  # of each decade
AXES = (LATENCY, Column("size_bytes"))


def front_png(front: pd.DataFrame, measured: pd.DataFrame, baselines: pd.DataFrame, metric: Column, title: str) -> bytes:
    """Draw a metric against latency and against size: everything measured, the front, and the baselines.

    Args:
        front: Networks of the front.
        measured: All networks with a measured latency.
        baselines: With their names in column `baseline`.
        metric: What steered the search.
        title: Over the picture.

    Returns:
        A PNG.
    """
    axes = [axis for axis in AXES if axis.name in front]
    figure, drawn = plt.subplots(1, len(axes), figsize=(6 * len(axes), 5), layout="constrained", squeeze=False)
    panels = drawn[0]
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
    return _png(figure)


def table_png(table: LatencyTable, title: str) -> bytes:
    """Draw predicted against measured milliseconds of a table's held-out networks, with lines at 10 % error.

    Returns:
        A PNG.
    """
    figure, panel = plt.subplots(figsize=(6, 5.5), layout="constrained")
    measured, predicted = np.array(table.report.held_out).T
    ends = np.array([measured.min() * 0.9, measured.max() * 1.1])
    panel.plot(ends, ends, "0.5", linewidth=1)
    for error in (0.9, 1.1):
        panel.plot(ends, error * ends, "0.7", linestyle=":", linewidth=1)
    panel.scatter(measured, predicted, s=20, color="black")
    panel.set(xlabel="measured (ms)", ylabel="predicted (ms); dotted: 10 % off")
    panel.set_title(title, fontsize="small", wrap=True)
    return _png(figure)


def _title(column: Column) -> str:
    unit = column.quantity.unit
    return f"{column.label} ({unit})" if unit else column.label


def _png(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    plt.close(figure)
    return content.getvalue()
