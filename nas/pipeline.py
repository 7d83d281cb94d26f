"""Wires the stages of a run: train, measure, search, export. The one place where configuration meets code."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from rich.console import Console

from latency_tables.kit import measured_names
from latency_tables.modelled import Accelerator
from latency_tables.table import LatencyTable
from latency_tables.timing import Measurement
from nas.archive import Archive
from nas.config import Experiment
from nas.data import Dataset, load_dataset
from nas.evaluation import Evaluator
from nas.export.bundle import export_bundle
from nas.front import measured_front
from nas.progress import Update, console, progress_bar
from nas.report.plot import front_png
from nas.report.table import describe, print_front, print_verdict
from nas.run_folder import RunFolder, file_digest, read_table
from nas.search.evolution import Objective, at_most, evolve
from nas.search.feasibility import check_feasible
from nas.search.loop import search
from nas.supernet import Supernet
from nas.tables import DeviceTable
from nas.training.checkpoint import load_tensors, save_tensors, write_atomically
from nas.training.trainer import Schedule, check_identity, load_supernet, train
from predictors import PREDICTORS, Quality
from search_spaces import SPACES, Architecture, InvalidInput, SearchSpace, cost_table
from search_spaces.baselines import baselines, keep_formats
from search_spaces.costs import FactorTable
from search_spaces.graph import Graph
from search_spaces.space import Genomes

LATENCY_COLUMNS = ("latency_ms", "latency_spread")


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
        space: SearchSpace = build(input_shape=self.data.image_shape, n_classes=self.data.n_classes)
        return keep_formats(space, self.experiment.formats)

    @cached_property
    def latency(self) -> DeviceTable:
        """The latency table of the run's device, measured or to be measured."""
        config = self.experiment
        path = self.run.table_path(config.device.name)
        return DeviceTable(self.space, config.device, config.table, path, config.seed, str(self.run.path))

    # ------------------------------------------------------------------ stages

    def train(self) -> None:
        """Train the supernet, or go on from the last checkpoint; nothing happens when it is trained."""
        if self.run.supernet.exists():
            self._trained()
            return
        supernet = self._new_supernet()
        with progress_bar("training the supernet") as update:
            records = train(
                supernet,
                self.data,
                Schedule(**asdict(self.experiment.training)),
                seed=self.experiment.seed,
                checkpoint=self.run.checkpoint,
                identity=self._identity(),
                progress=update,
            )
        save_tensors(self.run.supernet, supernet.state_dict(), {**self._identity(), "records": records})

    def measure(self, *, again: bool = False) -> LatencyTable:
        """Measure the latency table of this machine, or read the one that is there.

        Args:
            again: Measure even if there is a table.

        Raises:
            InvalidInput: If the table that is there was measured on another machine or for another space.
        """
        return self.latency.measure(again=again)

    def table(self) -> LatencyTable:
        """Return the latency table of this run.

        Raises:
            InvalidInput: If there is none, or it is not of this device or this space.
        """
        return self.latency.read()

    def take_result(self, file: Path) -> LatencyTable:
        """Take what a kit has measured elsewhere: the table if there is none, otherwise networks near the front.

        Raises:
            InvalidInput: If the file is no such result.
        """
        if not self.latency.path.exists():
            return self.latency.take(file)
        table = self.table()
        genomes = self._errors.genomes()
        due = [g for g, values in zip(genomes, self._latencies.lookup(genomes), strict=True) if values is None]
        graphs = self._graphs(due)
        names = measured_names(file)
        chosen = {name: graph for name, graph in graphs.items() if name in names}
        measurements = self.latency.take_networks(chosen, table, file)
        self._keep_latencies([g for g, name in zip(due, graphs, strict=True) if name in chosen], list(measurements.values()))
        return table

    def check_limits(self) -> None:
        """Make sure that some network keeps the limits, as far as that is known without training.

        Raises:
            InvalidInput: If none does; with the nearest that does.
        """
        exact = self._static_costs()
        if self.latency.path.exists():
            exact["latency_ms"] = self.table().factor_table(self.space)
        check_feasible(self.space, exact, self.experiment.search.max)

    def search(self) -> Quality | None:
        """Search, measure the front and write it; what was measured before is not measured again.

        Returns:
            How well the predictor ranked the errors of networks that it had not seen; None if there were too few.
        """
        table, evaluator, config = self.table(), self.evaluator(), self.experiment.search
        exact = {"latency_ms": table.factor_table(self.space), **self._static_costs()}
        check_feasible(self.space, exact, config.max)
        cheap = {name: exact[name] for name in config.objectives if name != "error"}
        constraints = {name: at_most(exact[name], limit) for name, limit in config.max.items()}
        rng = np.random.default_rng(self.experiment.seed)
        quality = None
        with progress_bar("searching") as update:
            if "error" in config.objectives:
                result = search(
                    self.space,
                    lambda genomes: {"error": evaluator.errors(genomes)},
                    cheap=cheap,
                    constraints=constraints,
                    n_measurements=config.n_measurements,
                    predictors=config.predictors,
                    rng=rng,
                    archive=self._errors,
                    progress=update,
                )
                quality = result.quality.get("error")
            else:
                self._search_cheap(cheap, constraints, evaluator, rng, update)
        self._write_front(exact, table, evaluator)
        return quality

    def print_front(self) -> None:
        """Print the front with the verdict on its latency table."""
        print_front(self.run.front(), self.run.baselines(), Console())
        self.print_verdict()

    def best_id(self) -> str:
        """Return the id of the front's network with the least validation error; of equals the quickest."""
        return str(self.run.front().sort_values(["error_val", "latency_ms"])["id"].iloc[0])

    def export(self, architecture_id: str, folder: Path) -> dict[str, Any]:
        """Export one subnet of the archive, with proof of parity; return what `parity.json` holds.

        Raises:
            InvalidInput: If the archive holds no such subnet, or the folder is in the way.
            ParityFailed: If parity fails; nothing is written then.
        """
        evaluator = self.evaluator()
        architecture = self._find(architecture_id)
        facts: dict[str, Any] = {}
        for table in (self.run.baselines(), self.run.front()):
            for row in table[table["id"] == architecture_id].to_dict("records"):
                named = {str(key): value for key, value in row.items()}
                facts = {k: v for k, v in named.items() if k not in self.space.gene and k != "id" and not pd.isna(v)}
        facts["device"] = dict(self.table().fingerprint)
        with console.status(f"exporting {architecture_id} and proving parity"):
            parity = export_bundle(evaluator, self.data, architecture, folder, seed=self.experiment.seed, facts=facts)
        return parity.to_dict()

    def print_verdict(self) -> None:
        """Say how far the latency table can be trusted, loudly if it cannot."""
        if self.latency.path.exists():
            print_verdict(read_table(self.latency.path), console)

    # ------------------------------------------------------------------ pieces

    def _identity(self) -> dict[str, Any]:
        config = self.experiment
        return {
            "space": self.space.name,
            "seed": config.seed,
            "data": self.data.digest,
            "training": asdict(config.training),
        }

    def _new_supernet(self) -> Supernet:
        supernet = Supernet(self.space, torch.Generator().manual_seed(self.experiment.seed))
        supernet.set_pixel_statistics(*self.data.pixel_statistics())
        return supernet

    def _trained(self) -> Supernet:
        if not self.run.supernet.exists():
            raise InvalidInput(f"'{self.run.path}' has no trained supernet; train it with `hwnas train {self.run.path}`")
        tensors, facts = load_tensors(self.run.supernet)
        check_identity(facts, self._identity(), self.run.supernet)
        supernet = self._new_supernet()
        load_supernet(supernet, tensors, self.run.supernet)
        return supernet.eval()

    def evaluator(self) -> Evaluator:
        """Return what measures the errors of subnets of the trained supernet."""
        return Evaluator(self._trained(), self.data, n_calibration=self.experiment.search.n_calibration)

    def _static_costs(self) -> dict[str, FactorTable]:
        """Return the costs that need no measurement."""
        exact = {name: cost_table(self.space, name) for name in ("size_bytes", "macs")}
        if self.experiment.accelerator:
            exact |= Accelerator.from_dict(self.experiment.accelerator, "accelerator").tables(self.space)
        return exact

    def _archive(self, study: str, names: tuple[str, ...]) -> Archive:
        n_calibration = str(self.experiment.search.n_calibration)
        identity = {"supernet": file_digest(self.run.supernet), "n_calibration": n_calibration}
        return Archive(self.space, self.run.storage, study, names, identity)

    def _search_cheap(
        self,
        cheap: Mapping[str, Objective],
        constraints: dict[str, Objective],
        evaluator: Evaluator,
        rng: np.random.Generator,
        progress: Update,
    ) -> None:
        """Search without the error as an objective: nothing is predicted; the error is measured to be told.

        Of a front with more networks than may be measured, as many are taken, evenly along its first objective.
        """
        genomes = evolve(self.space, cheap, constraints, population=100, generations=100, rng=rng).genomes
        n = min(len(genomes), self.experiment.search.n_measurements)
        genomes = genomes[np.linspace(0, len(genomes) - 1, n).round().astype(int)]
        genomes = np.concatenate([genomes, np.array(list(baselines(self.space).values()))])
        self._errors.measure_missing(genomes, lambda genome: {"error": evaluator.errors(genome)}, progress)

    def _find(self, architecture_id: str) -> Architecture:
        known = [self.space.architecture(genome) for genome in self._errors.genomes()]
        for architecture in known:
            if architecture.id == architecture_id:
                return architecture
        path = self.run.path
        raise InvalidInput(
            f"'{path}' has measured no subnet '{architecture_id}'; `hwnas front {path}` lists those of the front"
        )

    def _write_front(self, exact: Mapping[str, Objective], table: LatencyTable, evaluator: Evaluator) -> None:
        config = self.experiment.search
        networks, front, uniform = measured_front(
            self.space,
            self._errors,
            exact,
            config.objectives,
            config.max,
            measure_latency=lambda genomes: self._time(genomes, table),
            measure_test_error=lambda genomes: self._test_errors(genomes, evaluator),
        )
        picture = front_png(front, networks, uniform, f"{self.experiment.name}: {describe(table)}")
        write_atomically(self.run.front_png, picture)
        write_atomically(self.run.baselines_csv, uniform.to_csv(index=False).encode())
        write_atomically(self.run.front_csv, front.to_csv(index=False).encode())

    def _time(self, genomes: Genomes, table: LatencyTable) -> dict[str, np.ndarray]:
        """Return latency and spread of networks; what was not timed yet is timed and kept in the archive."""
        due = [g for g, values in zip(genomes, self._latencies.lookup(genomes), strict=True) if values is None]
        if due:
            self._time_now(due, table)
        found = [values for values in self._latencies.lookup(genomes) if values]
        return {name: np.array([values[name] for values in found]) for name in LATENCY_COLUMNS}

    def _time_now(self, due: list[Genomes], table: LatencyTable) -> None:
        graphs = self._graphs(due)
        if self.experiment.device.elsewhere:
            self.latency.ask_elsewhere(graphs)
        heading = {"supernet": file_digest(self.run.supernet)}
        self._keep_latencies(due, list(self.latency.time_here(graphs, table, heading).values()))

    def _graphs(self, genomes: Iterable[Genomes]) -> dict[str, Graph]:
        architectures = [self.space.architecture(genome) for genome in genomes]
        return {architecture.id: self.space.graph(architecture) for architecture in architectures}

    def _keep_latencies(self, genomes: list[Genomes], found: list[Measurement]) -> None:
        values = {"latency_ms": np.array([m.ms for m in found]), "latency_spread": np.array([m.spread for m in found])}
        self._latencies.add(np.array(genomes), values)

    @cached_property
    def _errors(self) -> Archive:
        return self._archive("error", ("error",))

    @cached_property
    def _latencies(self) -> Archive:
        fingerprint = json.dumps(dict(self.table().fingerprint), sort_keys=True)
        study = f"latency {self.latency.device.name}"
        return Archive(self.space, self.run.storage, study, LATENCY_COLUMNS, {"device": fingerprint})

    def _test_errors(self, genomes: Genomes, evaluator: Evaluator) -> np.ndarray:
        archive = self._archive("error_test", ("error_test",))
        with progress_bar("testing the front") as update:
            archive.measure_missing(genomes, lambda genome: {"error_test": evaluator.errors(genome, "test")}, update)
        return np.array([values["error_test"] for values in archive.lookup(genomes) if values])


def open_pipeline(source: str, out: str | None = None, overrides: tuple[str, ...] = ()) -> Pipeline:
    """Return the pipeline of a run folder, or of an experiment's YAML file in a new or an existing folder.

    Args:
        source: A run folder or a YAML file.
        out: Folder for a YAML file; by default `runs/NAME`.
        overrides: `key=value`, see `Experiment.from_yaml`.
    """
    path = Path(source)
    if path.is_dir():
        if overrides or out:
            raise InvalidInput(f"'{source}' is a run folder: --out and --set go with an experiment's YAML file")
        return Pipeline(RunFolder.open(path))
    experiment = Experiment.from_yaml(path, overrides)
    SPACES.get(experiment.space)
    if experiment.search.predictors != "auto":
        PREDICTORS.get(experiment.search.predictors)
    folder = Path(out) if out else Path("runs") / experiment.name
    pipeline = Pipeline(RunFolder(folder, experiment))
    _ = pipeline.space  # data and space are checked before anything is written
    device = pipeline.latency.device
    fingerprint = {"elsewhere": device.name} if experiment.device.elsewhere else device.fingerprint()
    pipeline.run = RunFolder.create(folder, experiment, fingerprint)
    return pipeline
