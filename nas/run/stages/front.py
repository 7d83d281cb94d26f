"""The front of a run: made of what was measured, drawn, and written."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from nas.events.files import write_atomically
from nas.objectives.columns import Column
from nas.report.plots import front_plot
from nas.report.table import describe
from nas.run.folder import RunFolder
from nas.run.latencies import Latencies, time_all
from nas.search.front import measure_front
from nas.search.measurements import Measurements
from search_spaces.space.space import Genomes


def write_front(
    run: RunFolder,
    known: Measurements,
    devices: Sequence[Latencies],
    *,
    metric: str,
    noise: float,
    heading: dict[str, Any],
    measure_test: Callable[[Genomes], dict[Column, np.ndarray]],
) -> None:
    """Measure what the front needs on every device, and write the front, its picture and the baselines into the run folder.

    Args:
        run: The run.
        known: The networks that were measured on the validation split.
        devices: The latencies of the run's devices, the first one's first.
        metric: What steered the search.
        noise: A difference of it that means nothing.
        heading: What an interrupted timing must agree with to be gone on from.
        measure_test: From genomes `(n, g)` to columns of the test split, shape `(n,)`.
    """
    config = run.experiment.search

    timed, front, uniform = measure_front(
        known,
        [Column.of_objective(name) for name in config.objectives],
        {Column.of_objective(name): bound for name, bound in config.max.items()},
        {Column.of_objective(name): bound for name, bound in config.min.items()},
        tolerance={Column.of_objective(metric): noise},
        measure_latency=partial(time_all, devices, heading=heading),
        measure_test=measure_test,
    )
    title = f"{run.experiment.name}: {describe(devices[0].table.read())}" if devices else run.experiment.name
    write_atomically(run.front_png, front_plot(front, timed.frame(), uniform, title).png)
    run.write_front(front, uniform)
