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
from nas.objectives.columns import ERROR, TEST_ERROR, Column
from nas.objectives.evaluator import Evaluator
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
from nas.training.checkpoint import load_tensors
from nas.training.trainer import check_identity, load_supernet
from search_spaces import SPACES, InvalidInput, SearchSpace, Subnet, cost_table
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
        return load_dataset(config.name, path=config.path, n_val=config.n_val, seed=self.experiment.seed)

    @cached_property
    def space(self) -> SearchSpace:
        """The search space, for the images and classes of the data."""
        build = SPACES.get(self.experiment.space)
        chosen = {"formats": self.experiment.formats} if self.experiment.formats else {}
        space: SearchSpace = build(input_shape=self.data.image_shape, n_classes=self.data.n_classes, **chosen)
        return space

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
        train_supernet(self.run, self.new_supernet(), self.data, self._identity())

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
            measured=lambda: self.errors.genomes(),
            forget=lambda device: drop_study(self.storage, self._study(f"latency {device}")),
        )

    def check_constraints(self, *, measured: bool = True) -> None:
        """Make sure that some network satisfies the constraints, as far as that is known without training.

        Args:
            measured: Whether latency tables that are there count.

        Raises:
            InvalidInput: If none does; with the nearest that does.
        """
        exact = self.static_costs()
        if measured:
            exact |= {each.name: each.predicted() for each in self.latencies if each.device.path.exists()}
        check_feasible(self.space, exact, self.experiment.search.max, self.experiment.search.min)

    def search(self, *, measure: Measure | None = None, workers: int = 1) -> SearchResult | None:
        """Search, measure the front and write it; what was measured before is not measured again.

        Args:
            measure: What measures errors, picklable if there are several workers; None: the evaluator of this run.
            workers: Networks to measure at once, by joblib's backend in force.

        Returns:
            What the search measured; None where the error is no objective, so that nothing had to be searched for by
            measuring.
        """
        evaluator, rng = self.evaluator(), np.random.default_rng(self.experiment.seed)
        config, errors = self.experiment.search, self.errors
        if measure is None or "error" not in config.objectives:
            measure = evaluator.measure
        result = search_space(self.space, config, self.costs(), measure, errors, workers=workers, rng=rng)
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
        """Train one subnet of the archive on by itself, and export it; return its errors and what `parity.json` holds.

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
            errors = finetune(
                evaluator,
                self.data,
                subnet,
                self.experiment.training.to_schedule(),
                epochs=epochs,
                learning_rate=learning_rate,
                seed=self.experiment.seed,
                checkpoint=checkpoint,
                identity=self._weights_and_calibration,
                progress=update,
            )
        return errors | self._export(evaluator, subnet, folder, errors=errors, finetuned=epochs)

    def _export(self, evaluator: Evaluator, subnet: Subnet, folder: Path, **settings: Any) -> dict[str, Any]:
        n, device = len(self.errors.genomes()), self.latency
        return export_subnet(self.run, evaluator, self.data, subnet, folder, device=device, n_measured=n, **settings)

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
        }

    def new_supernet(self) -> Supernet:
        """Return the supernet as it is before training, with random weights."""
        supernet = Supernet(self.space, torch.Generator().manual_seed(self.experiment.seed))
        supernet.set_pixel_statistics(*self.data.pixel_statistics())
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

    def evaluator(self) -> Evaluator:
        """Return what measures the errors of subnets of the trained supernet."""
        return Evaluator(self._trained(), self.data, n_calibration=self.experiment.search.n_calibration)

    def static_costs(self) -> dict[str, FactorTable]:
        """Return the costs that need no measurement."""
        exact = {name: cost_table(self.space, name) for name in ("size_bytes", "macs")}
        if self.experiment.accelerator:
            exact |= Accelerator.from_dict(self.experiment.accelerator, "accelerator").tables(self.space)
        return exact

    def costs(self) -> dict[str, FactorTable]:
        """Return all costs that are exact sums of tables: latencies as predicted, and those that need no measurement."""
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
        for subnet in self.space.subnets(self.errors.genomes()):
            if subnet.id == subnet_id:
                return subnet
        path = self.run.path
        raise InvalidInput(f"'{path}' has measured no subnet '{subnet_id}'; `hwnas front {path}` lists those of the front")

    def measurements(self) -> Measurements:
        """Return every network whose error was measured, in the order of measurement; NaN where the rest was not.

        Raises:
            InvalidInput: If nothing was measured.
        """
        genomes = self.errors.genomes()
        if not len(genomes):
            path = self.run.path
            raise InvalidInput(f"'{path}' has measured no networks yet; measure some with `hwnas search {path}`")
        tested = [np.nan if found is None else found["error_test"] for found in self.test_errors.lookup(genomes)]
        values: dict[Column, np.ndarray] = {ERROR: self.errors.frame()["error"].to_numpy(), TEST_ERROR: np.array(tested)}
        for latencies in self.latencies:
            values |= latencies.known(genomes)
        values |= {each.column.predicted: each.predicted()(genomes) for each in self.latencies}
        values |= {Column.from_name(name): cost(genomes) for name, cost in self.static_costs().items()}
        return Measurements(self.space, genomes, values)

    def _write_front(self, evaluator: Evaluator) -> None:
        write_front(
            self.run,
            self.measurements(),
            self.latencies,
            heading={"supernet": self._weights_and_calibration["supernet"]},
            measure_test_error=lambda genomes: self._measure_test_errors(genomes, evaluator),
        )

    @cached_property
    def errors(self) -> Archive:
        """The measured errors of the validation split."""
        return self._archive("error", ("error",), self._weights_and_calibration)

    @cached_property
    def test_errors(self) -> Archive:
        """The measured errors of the test split."""
        return self._archive("error_test", ("error_test",), self._weights_and_calibration)

    def _measure_test_errors(self, genomes: Genomes, evaluator: Evaluator) -> np.ndarray:
        with progress_bar("testing the front") as update:
            self.test_errors.measure_missing(
                genomes, lambda genome: {"error_test": evaluator.errors(genome, "test")}, update
            )
        return np.array([values["error_test"] for values in self.test_errors.lookup(genomes) if values])
