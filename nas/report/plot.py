"""The front as a picture."""

import io

import matplotlib
import pandas as pd

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.ticker import StrMethodFormatter

AXES = {"latency_ms": "measured latency (ms)", "size_bytes": "packed weights (bytes)"}


def front_png(front: pd.DataFrame, measured: pd.DataFrame, baselines: pd.DataFrame, title: str) -> bytes:
    """Draw error against latency and against size: everything measured, the front, and the baselines.

    Args:
        front: Networks of the front.
        measured: All networks with a measured latency.
        baselines: With their names in column `baseline`.
        title: Over the picture.

    Returns:
        A PNG.
    """
    figure, panels = plt.subplots(1, len(AXES), figsize=(12, 5), layout="constrained")
    for panel, (column, label) in zip(panels, AXES.items(), strict=True):
        panel.scatter(measured[column], measured["error_val"], s=14, color="0.7", label="timed")
        kinds = baselines.groupby(baselines["baseline"].str.split().str[0], sort=False)
        for i, (precision, group) in enumerate(kinds):
            line = group.sort_values(column)
            panel.plot(line[column], line["error_val"], f"C{i}x:", label=f"uniform {precision}")
        panel.scatter(front[column], front["error_val"], s=26, color="black", label="front", zorder=3)
        panel.set(xlabel=label, ylabel="validation error (%)", xscale="log")
        panel.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        panel.xaxis.set_minor_formatter(StrMethodFormatter("{x:g}"))
        panel.tick_params(axis="x", which="both", labelrotation=45, labelsize="small")
        panel.grid(alpha=0.3)
    panels[0].legend(fontsize="small")
    figure.suptitle(title)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    plt.close(figure)
    return content.getvalue()
