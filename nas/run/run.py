"""Run: an experiment in a folder, stage by stage. What the command does, and a notebook does in as many lines."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from latency_tables.analytical import Accelerator
from latency_tables.table.table import LatencyTable
from nas.data.dataset import Dataset
from nas.data.load import expanded
from nas.events.files import write_atomically
from nas.events.progress import progress_bar
from nas.export.bench import Benchmark, bench
from nas.export.bundle import Exported, check_folder
from nas.export.verification.verify import Verification, verify
from nas.objectives.objective import OBJECTIVES, SHIPPED, Objective
from nas.objectives.supernet_evaluator import SupernetEvaluator
from nas.report.page import render
from nas.report.plots import Plot, front_plot
from nas.report.recommended import recommended
from nas.run.archives import Archives
from nas.run.experiment import Experiment
from nas.run.folder import RunFolder
from nas.run.latencies import Latencies, import_results
from nas.run.resolve import create_folder, resolve_experiment
from nas.run.stages.export import export_subnet
from nas.run.stages.finetune import FineTuned, finetune
from nas.run.stages.front import write_front
from nas.run.stages.report import report_content
from nas.run.stages.search import search_run
from nas.run.stages.train import train_supernet
from nas.run.tables import DeviceTable, named_device
from nas.run.trained import new_supernet, torch_threads, trained_supernet, training_identity, weights_identity
from nas.run.workers import RunMeasure, backend
from nas.search.feasibility import check_feasible
from nas.search.measurements import Measurements
from nas.search.recommendation import Recommendation
from nas.search.state import Measure
from nas.search.study import SearchResult
from nas.tasks import TASKS, Task
from nas.tasks.spaces import build_space
from nas.training.trainer import init_from
from search_spaces.costs import FactorTable
from search_spaces.errors import InvalidInputError
from search_spaces.space.space import SearchSpace
from search_spaces.space.subnet import Subnet


class Run:
    """An experiment in a folder; each stage reads what it needs from there and goes on where it was stopped.

    Make one with `create`, or open one with `open` (`nas.open_run`).
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder

    @classmethod
    def create(
        cls,
        experiment: Experiment | Mapping[str, Any] | str | Path,
        folder: str | Path | None = None,
        *,
        overrides: Sequence[str] = (),
    ) -> "Run":
        """Make a run, or open the one that the same experiment made before in that folder.

        Args:
            experiment: An experiment, its keys and values, or a YAML file; see docs/experiment.md.
            folder: By default `runs/NAME`.
            overrides: `key=value` with dots between levels, such as `training.float_epochs=2`.

        Raises:
            InvalidInputError: If something in it is wrong or cannot be satisfied, or the folder holds another experiment.
        """
        resolved, path = resolve_experiment(experiment, folder, overrides)
        run = cls(RunFolder(path, resolved))
        run._check_start()
        fingerprint: Mapping[str, Any] = {}
        if run.latencies:
            device = run.latencies[0].table.device
            fingerprint = {"remote": device.name} if device.remote else device.fingerprint()
        return cls(create_folder(path, resolved, fingerprint))

    @classmethod
    def open(cls, folder: str | Path, *, overrides: Sequence[str] = ()) -> "Run":
        """Open a folder that a run made.

        Args:
            folder: The folder.
            overrides: Other settings of its search, `search.KEY=VALUE`, which are kept in it.

        Raises:
            InvalidInputError: If it is no run folder.
        """
        if not isinstance(folder, str | Path):
            raise InvalidInputError(f"a run folder is a path, got {folder!r:.80}")
        return cls(RunFolder.open(expanded(str(folder))).with_search(overrides))

    def __repr__(self) -> str:
        return f"Run({str(self.folder.path)!r})"

    # ------------------------------------------------------------------ parts

    @property
    def experiment(self) -> Experiment:
        """What the run is about."""
        return self.folder.experiment

    @cached_property
    def data(self) -> Dataset:
        """The data set."""
        return self.experiment.data.load(TASKS.get(self.experiment.task).targets, self.experiment.seed)

    @cached_property
    def task(self) -> Task:
        """The task, on the data set."""
        return TASKS.get(self.experiment.task).of(self.data)

    @cached_property
    def space(self) -> SearchSpace:
        """The search space, for what the task takes and gives."""
        return build_space(self.experiment.space, self.task, self.experiment.formats)

    @cached_property
    def archives(self) -> Archives:
        """What was measured."""
        n_val, folder = self.data.size("val"), self.folder
        return Archives(folder, self.space, self.task, n_val, lambda: weights_identity(folder, self.space, self.data))

    @cached_property
    def latencies(self) -> tuple[Latencies, ...]:
        """The latencies on every device of the run, the first one's without a suffix."""
        config, made = self.experiment, []
        for i, device in enumerate(config.devices.values()):
            path, owner = self.folder.table_path(device.name), str(self.folder.path)
            table = DeviceTable(self.space, device, config.table, path, config.seed, owner)
            made.append(Latencies(table, self.archives.open, config.latency_of(i)))
        return tuple(made)

    def evaluator(self) -> SupernetEvaluator:
        """Return what measures subnets of the trained supernet.

        Raises:
            NotReadyError: If there is none yet.
        """
        supernet = trained_supernet(self.folder, self.space, self.data)
        return SupernetEvaluator(supernet, self.task, self.data, n_calibration=self.experiment.search.n_calibration)

    def static_costs(self) -> dict[str, Objective]:
        """Return the costs that need no measurement."""
        search = self.experiment.search
        named = [*SHIPPED, *search.objectives, *search.max, *search.min]
        exact = {name: OBJECTIVES.get(name)(self.space) for name in dict.fromkeys(named) if name in OBJECTIVES}
        if self.experiment.accelerator:
            exact |= Accelerator.from_dict(self.experiment.accelerator, "accelerator").tables(self.space)
        return exact

    # ------------------------------------------------------------------ stages

    def run(self, **search: Any) -> pd.DataFrame:
        """Measure the tables, train, search, and write the report; return the front. `search`: see `search`."""
        with self.folder.locked():
            self.check_constraints()
            self.measure()
            self.check_constraints()
            self.train()
            self.search(**search)
            self.report()
        return self.front()

    def train(self) -> None:
        """Train the supernet, or go on from the last checkpoint; nothing happens when it is trained.

        On a GPU if there is one; with the other processes if several have joined.
        """
        with self.folder.locked(), torch_threads(self.experiment.threads):
            if self.folder.supernet.exists():
                self.evaluator()  # one that is damaged or of another training is named
                return
            supernet = new_supernet(self.experiment, self.space, self.data)
            identity = training_identity(self.experiment, self.space, self.data)
            train_supernet(self.folder, supernet, self.task, self.data, identity)

    def measure(self, *, again: bool = False) -> list[LatencyTable]:
        """Measure the latency tables of the run's devices, or read those that are there; one for each device.

        Args:
            again: Measure even if there is a table.

        Raises:
            InvalidInputError: If a table that is there was measured on another machine or for another space.
            NotReadyError: If a device is remote and its table is missing.
        """
        with self.folder.locked():
            return [latencies.table.measure(again=again) for latencies in self.latencies]

    def tables(self) -> list[LatencyTable]:
        """Return the latency tables of this run, the first device's first; one that is missing is refused."""
        return [latencies.table.read() for latencies in self.latencies]

    def import_results(self, file: Path, *, again: bool = False) -> LatencyTable:
        """Take what a benchmark bundle has measured, see `nas.run.latencies.import_results`."""
        with self.folder.locked():
            return import_results(
                self.latencies,
                Path(file),
                owner=str(self.folder.path),
                again=again,
                measured=self.archives.genomes,
                forget=self.archives.forget_latencies,
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

    def search(
        self,
        *,
        workers: int = 1,
        measure: Measure | None = None,
        using: str = "loky",
        scheduler: str | None = None,
    ) -> SearchResult | None:
        """Search, measure the front and write it; what was measured before is not measured again.

        Args:
            workers: Networks to measure at once.
            measure: What measures networks, picklable if there are several workers; None: the supernet of this run.
            using: What measures several: `loky`, processes here, or `dask`, a cluster that sees the run folder.
            scheduler: Address of the Dask cluster, as `tcp://127.0.0.1:8786`.

        Returns:
            What the search measured; None where the task's metric is no objective, so that nothing had to be searched for
            by measuring.

        Raises:
            NotReadyError: If something that it needs is missing.
            InvalidInputError: If nothing satisfies the constraints.
        """
        if workers < 1:
            raise InvalidInputError(f"workers must be 1 or more, got {workers}")
        with self.folder.locked(), torch_threads(self.experiment.threads), backend(using, scheduler):
            evaluator = self.evaluator()
            if workers > 1 and measure is None:
                threads = max(1, self.experiment.threads // workers)
                measure = RunMeasure(str(self.folder.path.resolve()), threads, str(self.archives.weights))
            result = search_run(self, evaluator, measure or evaluator.measure, workers=workers)
            write_front(
                self.folder,
                self.measurements(),
                self.latencies,
                metric=self.task.metric.name,
                heading={"supernet": self.archives.weights["supernet"]},
                measure_test=lambda genomes: self.archives.measure_test(genomes, evaluator),
            )
        return result

    # ------------------------------------------------------------------ the front

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

    def export(self, subnet_id: str, to: str | Path | None = None, **options: Any) -> Exported:
        """Export a measured network, verified.

        Args:
            subnet_id: Its id.
            to: New folder; by default `export/ID` in the run folder.
            options: `target`, `dynamic_batch`, `int4`; see `nas.export.bundle.export_bundle`.

        Raises:
            InvalidInputError: If there is no such network, or the folder is in the way.
            VerificationError: If the file does not compute what was trained; nothing is written then.
        """
        folder = expanded(str(to)) if to else self.folder.export_path(subnet_id)
        return self._export(self.evaluator(), self.subnet(subnet_id), folder, **options)

    def finetune(
        self, subnet_id: str, to: str | Path | None = None, *, epochs: int = 3, learning_rate: float | None = None
    ) -> FineTuned:
        """Train a measured network on by itself, and export it.

        Args:
            subnet_id: Its id.
            to: New folder; by default `finetuned/ID` in the run folder.
            epochs: Passes over the training samples.
            learning_rate: Greatest rate; None: 0.01, or with Adam that of the quantized stage.

        Raises:
            InvalidInputError: If there is no such network, or the folder is in the way.
            VerificationError: If the file does not compute what was trained; nothing is written then.
        """
        folder = expanded(str(to)) if to else self.folder.finetuned_path(subnet_id)
        with self.folder.locked(), torch_threads(self.experiment.threads):
            evaluator, subnet = self.evaluator(), self.subnet(subnet_id)
            check_folder(folder)
            for latencies in self.latencies[:1]:
                latencies.table.read()  # what the export needs is here before hours are spent
            learning_rate = learning_rate or self.experiment.training.finetuning_rate
            name = f"finetune-{subnet_id}-{epochs}-{learning_rate:g}.safetensors"
            with progress_bar(f"fine-tuning {subnet_id}") as update:
                values = finetune(
                    evaluator,
                    subnet,
                    self.experiment.training,
                    epochs=epochs,
                    learning_rate=learning_rate,
                    seed=self.experiment.seed,
                    checkpoint=self.folder.checkpoint.with_name(name),
                    identity=dict(self.archives.weights),
                    progress=update,
                )
            exported = self._export(evaluator, subnet, folder, values=values, finetuned=epochs)
        return FineTuned(values, exported)

    def verify(self, subnet_id: str) -> Verification:
        """Verify a network that was exported into the run folder again, see `nas.export.verification.verify`."""
        return verify(self.folder.export_path(subnet_id), self.experiment.data.path, self.experiment.plugin_files)

    def bench(self, subnet_id: str, device: str | None = None, *, rounds: int = 20) -> Benchmark:
        """Time a network that was exported into the run folder again.

        `device` is the YAML file of one, or the name of a runtime; None: onnxruntime with one thread. `rounds` are sessions
        that are opened and timed.
        """
        return bench(self.folder.export_path(subnet_id), named_device(device), rounds)

    def _export(self, evaluator: SupernetEvaluator, subnet: Subnet, folder: Path, **settings: Any) -> Exported:
        device, n_measured = self.latencies[0].table if self.latencies else None, len(self.archives.genomes())
        with torch_threads(self.experiment.threads):
            return export_subnet(self.folder, evaluator, subnet, folder, device=device, n_measured=n_measured, **settings)

    def _check_start(self) -> None:
        """Check what can be before anything is written."""
        self.check_constraints(measured=False)
        if self.experiment.training.init_from and not (self.folder.checkpoint.exists() or self.folder.supernet.exists()):
            init_from(new_supernet(self.experiment, self.space, self.data), expanded(self.experiment.training.init_from))
