"""Everything that a run has measured, as one table; and what another device's latency table makes of it."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from latency_tables.table.table import LatencyTable
from nas.objectives.table_files import read_table
from nas.report.query import Scores
from nas.run.pipeline import Pipeline
from nas.run.tables import tables_folder
from nas.search.front import describe_networks, named, rows_of_baselines
from nas.search.pareto import non_dominated
from search_spaces.errors import InvalidInput
from search_spaces.space.space import Genomes


def measured_networks(pipeline: Pipeline) -> pd.DataFrame:
    """Return every network whose error was measured, in the order of measurement.

    Returns:
        The columns of `front.csv` but `tied`; NaN where a test error or a latency was not measured.

    Raises:
        InvalidInput: If nothing was measured.
    """
    genomes = _genomes(pipeline)
    columns: dict[str, np.ndarray] = {"error_test": _test_errors(pipeline, genomes)}
    for latencies in pipeline.latencies:
        columns |= latencies.known(genomes)
    return describe_networks(pipeline.space, genomes, pipeline.errors.frame()["error"].to_numpy(), columns, pipeline.costs())


def rescored(pipeline: Pipeline, table: LatencyTable) -> Scores:
    """Score every measured network with the latency table of another device; nothing is measured.

    Args:
        pipeline: The run.
        table: Of the run's space.

    Returns:
        The front by validation error, latency as that table predicts it, and the other objectives of the run that no device
        decides. Column `latency_ms_predicted` is of that device; there is no measured latency and no test error.

    Raises:
        InvalidInput: If the table is of another space, or nothing was measured.
    """
    genomes = _genomes(pipeline)
    static = pipeline.static_costs()
    costs = {**static, "latency_ms": table.factor_table(pipeline.space)}
    errors = pipeline.errors.frame()["error"].to_numpy()
    networks = describe_networks(pipeline.space, genomes, errors, {}, costs).drop(columns="error_test")
    names = ["error_val", "latency_ms_predicted"]
    names += [name for name in pipeline.experiment.search.objectives if name in static]
    front = networks[non_dominated(networks[names].to_numpy(float))].sort_values([*names, "id"], ignore_index=True)
    return Scores(
        front, named(networks, rows_of_baselines(pipeline.space, genomes)), names, table, asdict(pipeline.experiment.data)
    )


def find_table(pipeline: Pipeline, device: str) -> LatencyTable:
    """Return the latency table of another device.

    Args:
        pipeline: The run.
        device: A table's file, or the name of a device that the run or the user's folder of tables has a table of.

    Raises:
        InvalidInput: If there is none, or it is damaged.
    """
    folders = (pipeline.run.table_path(device).parent, tables_folder() / pipeline.space.name)
    for path in (Path(device), *(folder / f"{device}.json" for folder in folders)):
        if path.is_file() and path.suffix != ".json":
            raise InvalidInput(f"'{path}' is no latency table: those are JSON files, as RUN/latency/DEVICE.json")
        if path.is_file():
            return read_table(path)
    known = sorted(path.stem for folder in folders for path in folder.glob("*.json"))
    raise InvalidInput(
        f"there is no latency table '{device}'; known for this space: {', '.join(known) or 'none'}, or a file"
    )


def _genomes(pipeline: Pipeline) -> Genomes:
    genomes = pipeline.errors.genomes()
    if not len(genomes):
        path = pipeline.run.path
        raise InvalidInput(f"'{path}' has measured no networks yet; measure some with `hwnas search {path}`")
    return genomes


def _test_errors(pipeline: Pipeline, genomes: Genomes) -> np.ndarray:
    """Return the measured test errors, NaN where there is none; shape `(n,)`."""
    found = pipeline.test_errors.lookup(genomes)
    return np.array([np.nan if values is None else values["error_test"] for values in found])
