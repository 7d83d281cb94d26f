"""What every run can do, whatever its networks come from: a folder with tables, measurements and a front. Needs no torch."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from latency_tables.analytical import Accelerator
from latency_tables.table.table import LatencyTable
from nas.events.files import write_atomically
from nas.export.bench import Benchmark, bench
from nas.export.folder import Exported
from nas.objectives.objective import OBJECTIVES, SHIPPED, Objective
from nas.report.page import render
from nas.report.plots import Plot, front_plot
from nas.report.recommended import recommended
from nas.run.archives import Archives
from nas.run.experiment import Experiment
from nas.run.folder import RunFolder
from nas.run.latencies import Latencies, import_results
from nas.run.stages.report import report_content
from nas.run.tables import DeviceTable, named_device
from nas.search.feasibility import check_feasible
from nas.search.measurements import Measurements
from nas.search.recommendation import Recommendation
from nas.tasks.metric import Metric
from search_spaces.costs import FactorTable
from search_spaces.space.space import SearchSpace
from search_spaces.space.subnet import Subnet


class BaseRun(ABC):
    """A run in a folder, once its networks are there."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder

    def __repr__(self) -> str:
        return f"Run({str(self.folder.path)!r})"

    @property
    def experiment(self) -> Experiment:
        """What the run is about."""
        return self.folder.experiment

    @property
    @abstractmethod
    def space(self) -> SearchSpace:
        """The search space."""

    @property
    @abstractmethod
    def archives(self) -> Archives:
        """What was measured."""

    @property
    @abstractmethod
    def metric(self) -> Metric:
        """What is measured of networks and steers the search."""

    @abstractmethod
    def export(self, subnet_id: str, to: str | Path | None = None, **options: Any) -> Exported:
        """Export a measured network, verified."""

    def training_records(self) -> list[dict[str, Any]]:
        """Return what was noted after each epoch of training; of networks that others have trained nothing."""
        return []

    @cached_property
    def latencies(self) -> tuple[Latencies, ...]:
        """The latencies on every device of the run, in every phase; the first device's without a suffix."""
        config, made = self.experiment, []
        owner, command = str(self.folder.path), self.folder.command
        for i, device in enumerate(config.devices.values()):
            for phase, column in zip(config.phases or ("",), config.latencies_of(i), strict=True):
                path = self.folder.table_path(device.name, phase)
                table = DeviceTable(self.space.at(phase), device, config.table, path, config.seed, owner, command, phase)
                made.append(Latencies(table, self.archives.open, self.archives.drop, column))
        return tuple(made)

    def static_costs(self) -> dict[str, Objective]:
        """Return the costs that need no measurement."""
        search = self.experiment.search
        named = [*SHIPPED, *search.objectives, *search.max, *search.min]
        exact = {name: OBJECTIVES.get(name)(self.space) for name in dict.fromkeys(named) if name in OBJECTIVES}
        if self.experiment.accelerator:
            exact |= Accelerator.from_dict(self.experiment.accelerator, "accelerator").tables(self.space)
        return exact

    def measure(self, *, again: bool = False) -> list[LatencyTable]:
        """Measure the latency tables of the run's devices, or read those that are there; one for each device.

        With a new table, what was timed of whole networks is dropped: it is in the units of the one before.

        Args:
            again: Measure even if there is a table.

        Raises:
            InvalidInputError: If a table that is there was measured on another machine or for another space.
            NotReadyError: If a device is remote and its table is missing.
        """
        with self.folder.locked():
            return [latencies.measure(again=again) for latencies in self.latencies]

    def tables(self) -> list[LatencyTable]:
        """Return the latency tables of this run, the first device's first; one that is missing is refused."""
        return [latencies.table.read() for latencies in self.latencies]

    def import_results(self, file: Path, *, again: bool = False) -> list[LatencyTable]:
        """Take what a benchmark bundle has measured, see `nas.run.latencies.import_results`."""
        with self.folder.locked():
            return import_results(
                self.latencies,
                Path(file),
                owner=str(self.folder.path),
                again=again,
                measured=self.archives.genomes,
            )

    def check_constraints(self, *, measured: bool = True) -> None:
        """Make sure that some network satisfies the constraints, as far as that is known without training.

        Args:
            measured: Whether latency tables that are there count.

        Raises:
            InvalidInputError: If none does; with the nearest that does.
        """
        exact = self.static_costs()
        if measured:
            exact |= {each.name: each.predicted() for each in self.latencies if each.table.path.exists()}
        tables = {name: cost for name, cost in exact.items() if isinstance(cost, FactorTable) and not cost.takes_max}
        check_feasible(self.space, tables, self.experiment.search.max, self.experiment.search.min)

    def front(self, max: Mapping[str, float] | None = None, min: Mapping[str, float] | None = None) -> pd.DataFrame:  # noqa: A002
        """Return the measured front: a row for each network, its id, choices and numbers; sorted by the first objective.

        Args:
            max: Upper bounds by column, such as `{"latency_ms": 0.5}`.
            min: Lower bounds by column.

        Raises:
            NotReadyError: If there is no front yet.
            InvalidInputError: If a column does not exist or holds no numbers.
        """
        return self.folder.front(max, min)

    def recommend(self, weights: Mapping[str, float]) -> Recommendation:
        """Return the row of the front that weights of its objectives name, see `nas.search.recommendation.recommend`."""
        return recommended(self.front(), self.folder.objectives, weights)

    def baselines(self) -> pd.DataFrame:
        """Return the measured uniform networks, with their names in column `baseline`."""
        return self.folder.baselines()

    def best_id(self) -> str:
        """Return the id of the front's network with the best metric; of equals the fastest."""
        return self.folder.best_id()

    def subnet(self, subnet_id: str) -> Subnet:
        """Return a measured network by its id.

        Raises:
            InvalidInputError: If there is none.
        """
        return self.archives.subnet(subnet_id)

    def measurements(self) -> Measurements:
        """Return every measured network, in the order of measurement; NaN where something was not measured.

        Raises:
            NotReadyError: If nothing was measured.
        """
        return self.archives.measurements(self.latencies, self.static_costs())

    def plot(self) -> Plot:
        """Return a picture of the front; a notebook shows it, `save` writes it. It needs no display."""
        return front_plot(self.front(), self.measurements().frame(), self.baselines(), self.experiment.name)

    def report(self) -> Path:
        """Write the report, one page that needs no network, and return its file."""
        write_atomically(self.folder.report, render(report_content(self)).encode())
        return self.folder.report

    def bench(self, subnet_id: str, device: str | None = None, *, rounds: int = 20) -> Benchmark:
        """Time a network that was exported into the run folder again.

        `device` is the YAML file of one, or the name of a runtime; None: onnxruntime with one thread. `rounds` are sessions
        that are opened and timed.
        """
        return bench(self.folder.export_path(subnet_id), named_device(device), rounds)
