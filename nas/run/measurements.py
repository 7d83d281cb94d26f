"""Another device's latency table on everything that a run has measured."""

from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from latency_tables.table.table import LatencyTable
from nas.objectives.columns import LATENCY, Column
from nas.objectives.table_files import read_table
from nas.report.query import Scores
from nas.run.folder import RunFolder
from nas.run.tables import tables_folder
from nas.search.measurements import Measurements
from search_spaces.errors import InvalidInputError
from search_spaces.space.space import SearchSpace

if TYPE_CHECKING:
    from nas.run.base import BaseRun


def scores(run: "BaseRun", device: str = "") -> Scores:
    """Return the front of a run with what it is compared with.

    Args:
        run: It was searched.
        device: Another device, by name or file of its latency table: all measured networks by its predictions.

    Raises:
        NotReadyError: If there is no front.
        InvalidInputError: If there is no such table.
    """
    if not device:
        return run.folder.scores()
    if run.space.phases:
        raise InvalidInputError("networks of tokens have a table for each phase: name further devices in the experiment")
    table, metric = find_table(run.folder, run.space, device), Column.of_objective(run.metric.name)
    return rescored(run.folder, run.measurements(), metric, run.static_costs().keys(), table)


def rescored(run: RunFolder, measured: Measurements, metric: Column, exact: Collection[str], table: LatencyTable) -> Scores:
    """Score every measured network with the latency table of another device; nothing is measured.

    Args:
        run: The run folder.
        measured: All that it has measured.
        metric: What steered its search.
        exact: Names of costs that no device decides.
        table: Of the run's space.

    Returns:
        The front by the metric, latency as that table predicts it, and the other objectives of the run that no device
        decides. Column `latency_ms_predicted` is of that device; there is no measured latency and nothing of the test split.

    Raises:
        InvalidInputError: If the table is of another space.
    """
    kept = [column for column in measured.values if column.name in exact]
    values = {metric: measured[metric], LATENCY.predicted: table.factor_table(measured.space)(measured.genomes)}
    values |= {column: measured[column] for column in kept}
    scored = Measurements(measured.space, measured.genomes, values, measured.orders)
    objectives = [metric, LATENCY.predicted]
    objectives += [column for column in kept if column.name in run.experiment.search.objectives]
    rows, _ = scored.front(objectives)
    names = [column.name for column in objectives]
    return Scores(scored.take(rows).frame(), scored.baselines_frame(), names, table, asdict(run.experiment.data))


def find_table(run: RunFolder, space: SearchSpace, device: str) -> LatencyTable:
    """Return the latency table of another device.

    Args:
        run: The run folder.
        space: Its space.
        device: A table's file, or the name of a device that the run or the user's folder of tables has a table of.

    Raises:
        InvalidInputError: If there is none, or it is damaged.
    """
    folders = (run.table_path(device).parent, tables_folder() / space.name)
    for path in (Path(device), *(folder / f"{device}.json" for folder in folders)):
        if path.is_file() and path.suffix != ".json":
            raise InvalidInputError(f"'{path}' is no latency table: those are JSON files, as RUN/latency/DEVICE.json")
        if path.is_file():
            return read_table(path)
    known = sorted(path.stem for folder in folders for path in folder.glob("*.json"))
    raise InvalidInputError(
        f"there is no latency table '{device}'; known for this space: {', '.join(known) or 'none'}, or a file"
    )
