"""The front as a table: for people, for programs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from latency_tables.table.table import LatencyTable
from nas.objectives.columns import Column, latencies, minimized, number_columns, with_its_own
from nas.report.console import terminal

WORTH_TELLING = 10.0  # percent of disturbed timings


def print_front(front: pd.DataFrame, baselines: pd.DataFrame, rows: pd.DataFrame | None = None) -> None:
    """Print the front, the baselines below it, and what the search has gained.

    Args:
        front: A row for each network.
        baselines: The uniform networks, with their names in column `baseline`.
        rows: The rows of the front to print; None for all. Of a single one it is told what that gains.
    """
    rows, console = front if rows is None else rows, terminal()
    timed = latencies(front)
    by = ", by predicted latency" if timed and timed[0].is_predicted else ""
    count = f"{len(front)}" if len(rows) == len(front) else f"{len(rows)} of the {len(front)}"
    title = f"{count} networks that are Pareto-optimal among those measured{by}"
    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("id", no_wrap=True, min_width=10)
    table.add_column("formats", min_width=13)
    first = steering(front).metric  # the others stand in csv, json and --columns: a terminal has 80 columns
    shown = {
        column.name: _metric_heading(column) for column in number_columns(front) if column.split and column.metric == first
    }
    shown |= {name: heading for name, heading in _times(timed).items() if name in front}
    shown |= {"size_bytes": ("packed B", "{:,.0f}")} if "size_bytes" in front else {}
    further = [column for column in number_columns(front) if column.device and replace(column, device="") in timed]
    shown |= {column.name: (f"ms@{column.device}", "{:.4f}") for column in further}
    own, below = ([_cells(row, shown) for _, row in each.iterrows()] for each in (rows, baselines))
    for i, (title, _) in enumerate(shown.values()):
        whole = max(len(text) for text in (*title.split("@"), *(cells[i] for cells in (*own, *below))))
        table.add_column(title, justify="right", no_wrap="@" not in title, min_width=whole)
    if "beaten" in rows:
        table.add_column("beaten")
    for (_, row), cells in zip(rows.iterrows(), own, strict=True):
        table.add_row(str(row["id"]), formats_of(row), *cells, "yes" if row.get("beaten") else "")
    table.add_section()
    for (_, row), cells in zip(baselines.iterrows(), below, strict=True):
        table.add_row(str(row["id"]), str(row["baseline"]).replace("float32", "f32"), *cells, style="dim")
    if "tied" in rows and rows["tied"].any():
        table.caption = "~ tied: another network would beat it if metrics moved by the noise and times by their spread"
    needed = console.measure(table, options=console.options.update(max_width=1000)).minimum
    console.width = max(console.width, needed)  # no number is cut off
    console.print(table)
    for line in gains(rows if len(rows) == 1 else front, baselines):
        console.print(line)


def _times(timed: Sequence[Column]) -> dict[str, tuple[str, str]]:
    """Return heading and form of latencies by the names of their columns; of a single one spread and prediction, too."""
    if len(timed) > 1:
        return {latency.name: (f"{latency.quantity.title} ms", "{:.4f}") for latency in timed}
    headings = (("ms", "{:.4f}"), ("spread", "{:.1%}"), ("pred. ms", "{:.4f}"))
    own = (each for latency in timed for each in with_its_own(replace(latency, is_predicted=False)))
    return {column.name: heading for column, heading in zip(own, headings, strict=False)}


def _metric_heading(column: Column) -> tuple[str, str]:
    """Return heading and form of a metric's column: its split and unit."""
    return f"{column.split} {column.quantity.unit}".rstrip(), f"{{:.{column.quantity.digits}f}}"


def steering(table: pd.DataFrame) -> Column:
    """Return the column of the metric that steered a search: the first of the validation split."""
    return next(column for column in number_columns(table) if column.split == "val")


def gains(front: pd.DataFrame, baselines: pd.DataFrame) -> list[str]:
    """Return what the front, or a single network of it, gains on each uniform network, a sentence each.

    The quickest network of the front that is no worse on the validation split is set against it, by measured latency or,
    where there is none, by the predicted one; without latencies nothing is said.
    """
    if not (timed := latencies(front)):
        return []
    metric = steering(front)
    title = metric.quantity.title
    no_worse = f"no more {title}" if metric.quantity.sign > 0 else f"no less {title}"
    values = minimized(metric, front[metric.name].to_numpy(float))
    found, unbeaten = [], []
    latency = timed[0].name
    by = " by predicted latency" if timed[0].is_predicted else f" at {timed[0].quantity.title}" if len(timed) > 1 else ""
    for _, row in baselines.iterrows():
        bound = minimized(metric, np.array([row[metric.name]], dtype=float))
        rivals = front[(values <= bound) & (front[latency] < row[latency])]
        if rivals.empty:
            unbeaten.append(f"'{row['baseline']}'")
            continue
        best = rivals.iloc[rivals[latency].argmin()]
        faster, size = row[latency] / best[latency], best["size_bytes"] / row["size_bytes"]
        found.append(f"{best['id']}: {faster:.2f}x as fast as '{row['baseline']}'{by} at {no_worse}, {size:.2f} of its size")
    if unbeaten:
        worse = f"more {title}" if metric.quantity.sign > 0 else f"less {title}"
        names = ", ".join(unbeaten)
        if len(front) == 1:
            found.append(f"{front['id'].iloc[0]}: no faster{by}, or with {worse}, than {names}")
        else:
            found.append(f"no network of the front is faster{by} at {no_worse} than {names}")
    return found


def to_text(front: pd.DataFrame, form: str) -> str:
    """Return the front as `csv` or `json` text."""
    if form == "csv":
        return str(front.to_csv(index=False))
    return json.dumps(json.loads(front.to_json(orient="records")), indent=1)


def formats_of(row: "pd.Series[Any]") -> str:
    """Return how many blocks of each number format a network has: `3xf32 2xw8a8`."""
    values = [str(value) for name, value in row.items() if str(name).endswith("/format") and not pd.isna(value)]
    short = {value: value.replace("float32", "f32") for value in sorted(set(values))}
    return " ".join(f"{values.count(value)}x{name}" for value, name in short.items())


def describe(table: LatencyTable) -> str:
    """Return on what a table was measured, and that it is not valid where it is not."""
    doubt = "" if table.report.is_valid else ", latency table NOT VALID"
    facts = table.fingerprint
    return f"{facts['backend']} {facts['version']}, {facts['threads']} thread(s), {facts.get('cpu', table.device)}{doubt}"


def validation_summary(table: LatencyTable, *, advise: bool = True) -> str:
    """Return sentences on how far a latency table can be trusted, what disturbed it, and how to get a better one or not."""
    report = table.report
    pairs = report.clear_pairs
    ranked = f"{pairs.mean():.3f} of {len(pairs)} pairs clearly apart" if len(pairs) else "no two of them clearly apart"
    numbers = (
        f"latency table {table.device}: {report.mape:.1f} % mean error, Kendall tau {report.tau:.3f} on {report.n_held_out} "
        f"held-out networks, {ranked} (the truth repeats to {report.split_half:.1f} %), {report.minutes:.1f} minutes"
    )
    if report.disturbed > WORTH_TELLING:
        numbers += f"; a warning: {report.disturbed:.0f} % of the timings were disturbed by other processes"
    if report.is_valid:
        return numbers
    way_out = (
        "close other programs and measure it again by `hwnas measure` with --again; of a remote device, bring a new "
        "result by --from and --again"
    )
    return f"{numbers}. NOT VALID: {'; '.join([*report.reasons, way_out] if advise else report.reasons)}"


def print_validation(table: LatencyTable, console: Console) -> None:
    """Print how far a latency table can be trusted, loudly if it cannot."""
    console.print(validation_summary(table), style="" if table.report.is_valid else "bold red")


def _cells(row: "pd.Series[Any]", shown: Mapping[str, tuple[str, str]]) -> list[str]:
    cells = ["-" if pd.isna(row.get(name)) else text.format(row[name]) for name, (_, text) in shown.items()]
    return [f"~{cells[0]}" if row.get("tied") == 1 else cells[0], *cells[1:]]
