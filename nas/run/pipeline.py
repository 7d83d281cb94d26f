"""Wires the stages of a run: train, measure, search, export. The one place where configuration meets code."""

from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from latency_tables.analytical import Accelerator
from latency_tables.table.table import LatencyTable
from nas.archive.archive import Archive
from nas.archive.storage import drop_study
from nas.data.dataset import Dataset
from nas.data.load import load_dataset
from nas.events.files import file_digest
from nas.events.progress import console, progress_bar
from nas.export.bundle import check_folder
from nas.objectives.columns import Column
from nas.objectives.evaluator import SupernetEvaluator
from nas.objectives.objective import OBJECTIVES, Objective
from nas.objectives.table_files import read_table
from nas.report.table import print_validation
from nas.run.folder import RunFolder
from nas.run.latencies import Latencies, import_results
from nas.run.stages.export import export_subnet
from nas.run.stages.finetune import finetune
from nas.run.stages.front import write_front
from nas.run.stages.search import search_space
from nas.run.stages.train import train_supernet
from nas.run.tables import DeviceTable
from nas.search.feasibility import check_feasible
from nas.search.measurements import Measurements
from nas.search.state import Measure
from nas.search.study import SearchResult
from nas.supernet.supernet import Supernet
from nas.tasks import TASKS, Task
from nas.tasks.spaces import build_space
from nas.training.checkpoint import load_tensors
from nas.training.trainer import check_identity, load_supernet
from search_spaces import InvalidInput, SearchSpace, Subnet
from search_spaces.costs import FactorTable
from search_spaces.space.baselines import formats
from search_spaces.space.space import Genomes


class Pipeline:
    """The stages of one run; each reads what it needs from the folder and goes on where it was stopped.

    Args:
        run: The folder and the experiment.
    """

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.experiment = run.experiment
        torch.set_num_threads(self.experiment.threads)

    @cached_property
    def data(self) -> Dataset:
        """The data set."""
        config = self.experiment.data
        targets = TASKS.get(self.experiment.task).targets
        return load_dataset(config.name, path=config.path, n_val=config.n_val, seed=self.experiment.seed, targets=targets)

    @cached_property
    def task(self) -> Task:
        """The task, on the data set."""
        return TASKS.get(self.experiment.task).of(self.data)

    @cached_property
    def space(self) -> SearchSpace:
        """The search space, for what the task takes and gives."""
        return build_space(self.experiment.space, self.task, self.experiment.formats)

    @cached_property
    def latencies(self) -> tuple[Latencies, ...]:
        """The latencies of every device of the run, the first one's without a suffix."""
        config = self.experiment
        made = []
        for i, device in enumerate((config.device, *config.more_devices)):
            path = self.run.table_path(device.name)
            table = DeviceTable(self.space, device, config.table, path, config.seed, str(self.run.path))
            made.append(Latencies(table, self._archive, device.name if i else ""))
        return tuple(made)

    @property
    def latency(self) -> DeviceTable:
        """The latency table of the run's first device, measured or to be measured."""
        return self.latencies[0].device

    def train(self) -> None:
        """Train the supernet, or go on from the last checkpoint; nothing happens when it is trained.

        On a GPU if there is one; with the other processes if several have joined.
        """
        if self.run.supernet.exists():
            self._trained()
            return
        train_supernet(self.run, self.new_supernet(), self.task, self.data, self._identity())

    def measure(self, *, again: bool = False) -> list[LatencyTable]:
        """Measure the latency tables of the run's devices, or read those that are there; one for each device.

        Args:
            again: Measure even if there is a table.

        Raises:
            InvalidInput: If a table that is there was measured on another machine or for another space, or a device is
                remote and its table is missing.
        """
        return [latencies.device.measure(again=again) for latencies in self.latencies]

    def tables(self) -> list[LatencyTable]:
        """Return the latency tables of this run, the first device's first.

        Raises:
            InvalidInput: If one is missing, or is not of its device or this space.
        """
        return [latencies.device.read() for latencies in self.latencies]

    def import_results(self, file: Path, *, again: bool = False) -> LatencyTable:
        """Take what a benchmark bundle has measured: a table that is missing, otherwise networks near the front.

        See `nas.run.latencies.import_results`.
        """
        return import_results(
            self.latencies,
            file,
            again=again,
            measured=lambda: self.archive.genomes(),
            forget=lambda device: drop_study(self.storage, self._study(f"latency {device}")),
        )

    def check_constraints(self, *, measured: bool = True) -> None:
        """Make sure that some network satisfies the constraints, as far as that is known without training.

        Args:
            measured: Whether latency tables that are there count.

        Raises:
            InvalidInput: If none does; with the nearest that does.
        """
        exact: dict[str, Objective] = self.static_costs()
        if measured:
            exact |= {each.name: each.predicted() for each in self.latencies if each.device.path.exists()}
        tables = {name: cost for name, cost in exact.items() if isinstance(cost, FactorTable)}
        check_feasible(self.space, tables, self.experiment.search.max, self.experiment.search.min)

    def search(self, *, measure: Measure | None = None, workers: int = 1) -> SearchResult | None:
        """Search, measure the front and write it; what was measured before is not measured again.

        Args:
            measure: What measures networks, picklable if there are several workers; None: the evaluator of this run.
            workers: Networks to measure at once, by joblib's backend in force.

        Returns:
            What the search measured; None where the task's metric is no objective, so that nothing had to be searched for by
            measuring.
        """
        evaluator, rng = self.evaluator(), np.random.default_rng(self.experiment.seed)
        config, metric = self.experiment.search, self.task.metric.name
        if measure is None or metric not in config.objectives:
            measure = evaluator.measure
        result = search_space(self.space, config, metric, self.costs(), measure, self.archive, workers=workers, rng=rng)
        self._write_front(evaluator)
        return result

    def export(self, subnet_id: str, folder: Path, **options: Any) -> dict[str, Any]:
        """Export one subnet of the archive, with a verification; return what `parity.json` holds; options: `export_bundle`.

        Raises:
            InvalidInput: If the archive holds no such subnet, or the folder is in the way.
            ParityFailed: If parity fails; nothing is written then.
        """
        return self._export(self.evaluator(), self._find(subnet_id), folder, **options)

    def finetune(self, subnet_id: str, folder: Path, epochs: int, learning_rate: float) -> dict[str, Any]:
        """Train one subnet of the archive on by itself, and export it; return its metrics and what `parity.json` holds.

        Raises:
            InvalidInput: If the archive holds no such subnet, or the folder is in the way.
            ParityFailed: If parity fails; nothing is written then.
        """
        evaluator, subnet = self.evaluator(), self._find(subnet_id)
        check_folder(folder)
        self.latency.read()  # what the export needs is here before hours are spent
        name = f"finetune-{subnet_id}-{epochs}-{learning_rate:g}.safetensors"
        checkpoint = self.run.checkpoint.with_name(name)
        with progress_bar(f"fine-tuning {subnet_id}") as update:
            values = finetune(
                evaluator,
                subnet,
                self.experiment.training.to_schedule(),
                epochs=epochs,
                learning_rate=learning_rate,
                seed=self.experiment.seed,
                checkpoint=checkpoint,
                identity=self._weights_and_calibration,
                progress=update,
            )
        return values | self._export(evaluator, subnet, folder, values=values, finetuned=epochs)

    def _export(self, evaluator: SupernetEvaluator, subnet: Subnet, folder: Path, **settings: Any) -> dict[str, Any]:
        n, device = len(self.archive.genomes()), self.latency
        return export_subnet(self.run, evaluator, subnet, folder, device=device, n_measured=n, **settings)

    def print_validation(self) -> None:
        """Say how far the latency tables can be trusted, loudly if they cannot."""
        for latencies in self.latencies:
            if latencies.device.path.exists():
                print_validation(read_table(latencies.device.path), console)

    def _identity(self) -> dict[str, Any]:
        config = self.experiment
        return {
            "space": self.space.name,
            "space_digest": self.space.digest,
            "formats": formats(self.space),
            "seed": config.seed,
            "data": self.data.digest,
            "training": asdict(config.training),
        } | ({"task": config.task} if config.task != "classification" else {})  # files of before name none

    def new_supernet(self) -> Supernet:
        """Return the supernet as it is before training, with random weights."""
        supernet = Supernet(self.space, torch.Generator().manual_seed(self.experiment.seed))
        supernet.set_input_statistics(*self.data.input_statistics())
        return supernet

    def _trained(self) -> Supernet:
        supernet = self.new_supernet()
        load_supernet(supernet, self._trained_tensors(), self.run.supernet)
        return supernet.eval()

    def _trained_tensors(self) -> dict[str, torch.Tensor]:
        if not self.run.supernet.exists():
            raise InvalidInput(f"'{self.run.path}' has no trained supernet; train it with `hwnas train {self.run.path}`")
        tensors, facts = load_tensors(self.run.supernet)
        check_identity(facts, self._identity(), self.run.supernet)
        return tensors

    def evaluator(self) -> SupernetEvaluator:
        """Return what measures subnets of the trained supernet."""
        return SupernetEvaluator(self._trained(), self.task, self.data, n_calibration=self.experiment.search.n_calibration)

    def static_costs(self) -> dict[str, Objective]:
        """Return the costs that need no measurement."""
        exact = {name: OBJECTIVES.get(name)(self.space) for name in OBJECTIVES.names}
        if self.experiment.accelerator:
            exact |= Accelerator.from_dict(self.experiment.accelerator, "accelerator").tables(self.space)
        return exact

    def costs(self) -> dict[str, Objective]:
        """Return all costs by name: latencies as predicted, and those that need no measurement."""
        return {**{each.name: each.predicted() for each in self.latencies}, **self.static_costs()}

    def _archive(self, study: str, names: tuple[str, ...], identity: Mapping[str, str]) -> Archive:
        return Archive(self.space, self.storage, self._study(study), names, identity)

    def _study(self, study: str) -> str:
        """Return the name of a study: in a database that runs share, they are told apart by the run's name."""
        return f"{self.experiment.name}: {study}" if self.experiment.archive else study

    @property
    def storage(self) -> str:
        """URL of the database that holds the archive."""
        return self.experiment.archive or self.run.storage

    @cached_property
    def _weights_and_calibration(self) -> dict[str, str]:
        self._trained_tensors()  # a supernet that is not whole is named, not taken for another one
        return {"supernet": file_digest(self.run.supernet), "n_calibration": str(self.experiment.search.n_calibration)}

    def _find(self, subnet_id: str) -> Subnet:
        for subnet in self.space.subnets(self.archive.genomes()):
            if subnet.id == subnet_id:
                return subnet
        path = self.run.path
        raise InvalidInput(f"'{path}' has measured no subnet '{subnet_id}'; `hwnas front {path}` lists those of the front")

    def measurements(self) -> Measurements:
        """Return every measured network, in the order of measurement; NaN where something was not measured.

        Raises:
            InvalidInput: If nothing was measured.
        """
        genomes = self.archive.genomes()
        if not len(genomes):
            path = self.run.path
            raise InvalidInput(f"'{path}' has measured no networks yet; measure some with `hwnas search {path}`")
        frame, tested = self.archive.frame(), self.test_archive.lookup(genomes)
        values: dict[Column, np.ndarray] = {}
        for name in self.archive.names:
            test = [np.nan if found is None else found[f"{name}_test"] for found in tested]
            values |= {Column(name, "val"): frame[name].to_numpy(), Column(name, "test"): np.array(test)}
        for latencies in self.latencies:
            values |= latencies.known(genomes)
        values |= {each.column.predicted: each.predicted()(genomes) for each in self.latencies}
        values |= {Column.from_name(name): cost(genomes) for name, cost in self.static_costs().items()}
        return Measurements(self.space, genomes, values)

    def _write_front(self, evaluator: SupernetEvaluator) -> None:
        write_front(
            self.run,
            self.measurements(),
            self.latencies,
            metric=self.task.metric.name,
            heading={"supernet": self._weights_and_calibration["supernet"]},
            measure_test=lambda genomes: self._measure_test(genomes, evaluator),
        )

    @cached_property
    def archive(self) -> Archive:
        """What was measured on the validation split."""
        names = tuple(metric.name for metric in self.task.metrics)
        return self._archive(names[0], names, self._weights_and_calibration)

    @cached_property
    def test_archive(self) -> Archive:
        """What was measured on the test split."""
        names = tuple(f"{metric.name}_test" for metric in self.task.metrics)
        return self._archive(names[0], names, self._weights_and_calibration)

    def _measure_test(self, genomes: Genomes, evaluator: SupernetEvaluator) -> dict[Column, np.ndarray]:
        archive = self.test_archive

        def measure(genome: Genomes) -> dict[str, np.ndarray]:
            found = evaluator.evaluate(self.space.subnets(genome), "test")
            return {f"{name}_test": values for name, values in found.items()}

        with progress_bar("testing the front") as update:
            archive.measure_missing(genomes, measure, update)
        rows = archive.lookup(genomes)
        return {Column.from_name(name): np.array([row[name] for row in rows if row]) for name in archive.names}
