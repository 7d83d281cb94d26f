"""Run: an experiment in a folder, stage by stage. What the command does, and a notebook does in as many lines."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from latency_tables.table.table import LatencyTable
from nas.data.dataset import Dataset
from nas.data.load import expanded
from nas.events.files import write_atomically
from nas.events.progress import progress_bar
from nas.export.folder import Exported, check_folder
from nas.export.verification.verify import Verification, verify
from nas.objectives.supernet_evaluator import SupernetEvaluator
from nas.pretrained.llama import Llama, read_llama
from nas.pretrained.supernet import save_pretrained
from nas.run.archives import Archives
from nas.run.base import BaseRun
from nas.run.experiment import Experiment
from nas.run.folder import RunFolder
from nas.run.noise import noise_of
from nas.run.resolve import create_folder, resolve_experiment
from nas.run.stages.export import export_subnet
from nas.run.stages.finetune import FineTuned, check_fine_tuned, finetune, largest_as_teacher, with_fine_tuned
from nas.run.stages.front import write_front
from nas.run.stages.search import search_run
from nas.run.stages.specialise import around, specialise_run
from nas.run.stages.train import train_supernet
from nas.run.trained import new_supernet, trained_supernet, training_identity, weights_identity
from nas.run.workers import RunMeasure, backend
from nas.search.state import Measure
from nas.search.study import SearchResult
from nas.supernet.threads import torch_threads
from nas.tasks import TASKS, Task
from nas.tasks.metric import Metric
from nas.tasks.spaces import build_space
from nas.training.checkpoint import load_tensors
from nas.training.trainer import init_from
from search_spaces.errors import InvalidInputError, check_range
from search_spaces.space.space import SearchSpace
from search_spaces.space.subnet import Subnet

logger = logging.getLogger(__name__)


class Run(BaseRun):
    """An experiment in a folder; each stage reads what it needs from there and goes on where it was stopped.

    Make one with `create`, or open one with `open` (`nas.open_run`).
    """

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
        return cls(RunFolder.open(expanded(str(folder))).with_overrides(overrides))

    def at(self, number: int) -> "Run":
        """Return the run as it is in another round; 0 is the first training and search."""
        return self._in(self.folder.at(number))

    def _in(self, folder: RunFolder) -> "Run":
        """Return a run in another folder of the same experiment's data, with what is loaded of them."""
        found = Run(folder)
        found.__dict__ |= {name: self.__dict__[name] for name in ("data", "task") if name in self.__dict__}
        return found

    @cached_property
    def before(self) -> "Run | None":
        """The round that this one trains on from: the last one before it that was kept; None of the first."""
        number = self.folder.number
        kept = [0, *(each.number for each in self.folder.rounds.read() if each.pays and each.number < number)]
        return self.at(kept[-1]) if number else None

    # ------------------------------------------------------------------ parts

    @cached_property
    def data(self) -> Dataset:
        """The data set."""
        return self.experiment.data.load(TASKS.get(self.experiment.task).targets, self.experiment.seed)

    @cached_property
    def task(self) -> Task:
        """The task, on the data set."""
        return TASKS.get(self.experiment.task).of(self.data)

    @property
    def metric(self) -> Metric:
        """See `BaseRun`."""
        return self.task.metric

    @cached_property
    def space(self) -> SearchSpace:
        """The search space, for what the task takes and gives; after rounds that narrowed it the part that is left."""
        if self.pretrained:
            return self.pretrained.space(self.task.inputs[0].shape[0], self.experiment.formats)
        return self.folder.part.of(build_space(self.experiment.space, self.task, self.experiment.formats))

    @cached_property
    def pretrained(self) -> Llama | None:
        """The language model that was trained elsewhere; None where this run trains."""
        if not (path := self.experiment.pretrained):
            return None
        return replace(read_llama(Path(path)), left_out=self.experiment.left_out)

    @cached_property
    def archives(self) -> Archives:
        """What was measured."""
        n_val, folder = self.data.size("val"), self.folder
        return Archives(folder, self.space, self.task, n_val, lambda: weights_identity(folder, self.space, self.data))

    def import_results(self, file: Path, *, again: bool = False) -> list[LatencyTable]:
        """See `BaseRun`; while a round is being made, networks are those of that round."""
        going = self.at(len(self.folder.rounds.read()) + 1)
        return BaseRun.import_results(going if going.folder.archive.exists() else self, file, again=again)

    def training_records(self) -> list[dict[str, Any]]:
        """See `BaseRun`."""
        records: list[dict[str, Any]] = load_tensors(self.folder.supernet)[1]["records"]
        return records

    def evaluator(self) -> SupernetEvaluator:
        """Return what measures subnets of the trained supernet.

        Raises:
            NotReadyError: If there is none yet.
        """
        supernet = trained_supernet(self.folder, self.space, self.data)
        return SupernetEvaluator(supernet, self.task, self.data, n_calibration=self.experiment.search.n_calibration)

    # ------------------------------------------------------------------ stages

    def run(self, **search: Any) -> pd.DataFrame:
        """Measure the tables, train, search, make the rounds, write the report; return the front. `search`: see there."""
        with self.folder.locked():
            self.check_constraints()
            self.measure()
            self.check_constraints()
            self.train()
            self.search(**search)
            run = self._with_rounds(**search)
            run.report()
        return run.front()

    def train(self) -> None:
        """Train the supernet, or go on from the last checkpoint; nothing happens when it is trained.

        On a GPU if there is one; with the other processes if several have joined.
        """
        with self.folder.locked(), torch_threads(self.experiment.threads):
            if self.folder.supernet.exists():
                self.evaluator()  # one that is damaged or of another training is named
                return
            supernet = new_supernet(self.experiment, self.space, self.data)
            if self.pretrained:
                identity = training_identity(self.folder, self.space, self.data)
                save_pretrained(self.folder.supernet, supernet, self.pretrained, self.data, identity)
                return
            init_from, found, of_round = self.folder.schedule.init_from, None, {}
            start = expanded(init_from) if init_from else None
            if self.before:
                found, of_round = around(self.before, self), {"start": self.before.folder.number}
                start = self.before.folder.supernet
                self.folder.begin()
            identity = training_identity(self.folder, self.space, self.data) | of_round
            train_supernet(self.folder, supernet, self.task, self.data, identity, start, found)

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
                path, number = str(self.folder.path.resolve()), self.folder.number
                measure = RunMeasure(path, number, threads, str(self.archives.weights))
            noise = noise_of(self.folder, evaluator, self.archives.weights["supernet"])
            result = search_run(self, evaluator, measure or evaluator.measure, noise=noise, workers=workers)
            write_front(
                self.folder,
                self.measurements(),
                self.latencies,
                metric=self.task.metric.name,
                noise=noise,
                heading={"supernet": self.archives.weights["supernet"]},
                measure_test=lambda genomes: self.archives.measure_test(genomes, evaluator),
            )
        return result

    def specialise(self, to: str | Path | None = None, *, overrides: Sequence[str] = (), **search: Any) -> "Run":
        """Train on around the front and search anew: one round or, while they pay, as many as `specialise.rounds` says.

        Args:
            to: New folder, a copy of this one in which the rounds are made; one that was begun so goes on. None: they are
                made in this folder.
            overrides: Other settings, `specialise.KEY=VALUE` and `search.KEY=VALUE`, which are kept in that folder.
            search: See `search`.

        Returns:
            The run in the round that is in force now.

        Raises:
            NotReadyError: If it was not searched.
            InvalidInputError: If the folder is in the way, or no network of the front keeps the limits.
        """
        self.front()  # it was searched
        if self.experiment.pretrained:
            raise InvalidInputError("the weights of a model that was trained elsewhere stay as they are")
        folder = self.folder.copied(expanded(str(to))) if to else self.folder
        with folder.locked():
            folder = folder.with_overrides(overrides)
            if not folder.experiment.specialise.rounds:
                folder = folder.with_overrides(["specialise.rounds=1"])
            return self._in(folder)._with_rounds(**search)

    def _with_rounds(self, **search: Any) -> "Run":
        """Make the rounds that are still to be made, and return the run in the round that is in force then."""
        with self.folder.locked():
            specialise_run(self, **search)
        return self._in(RunFolder(self.folder.path, self.experiment))

    # ------------------------------------------------------------------ the front

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
        self,
        subnet_id: str,
        to: str | Path | None = None,
        *,
        epochs: int = 3,
        learning_rate: float | None = None,
        distillation: float = 0.0,
    ) -> FineTuned:
        """Train a measured network on by itself, and export it.

        Args:
            subnet_id: Its id.
            to: New folder; by default `finetuned/ID` in the run folder.
            epochs: Passes over the training samples.
            learning_rate: Greatest rate; None: the training's, or with Adam that of its quantized stage.
            distillation: Share of the loss that the answers of the largest network give instead of the targets, 0 to 1.

        Raises:
            InvalidInputError: If there is no such network, or the folder is in the way.
            VerificationError: If the file does not compute what was trained; nothing is written then.
        """
        check_range("distillation", distillation, 0, 1)
        folder = expanded(str(to)) if to else self.folder.finetuned_path(subnet_id)
        with self.folder.locked(), torch_threads(self.experiment.threads):
            evaluator, subnet = self.evaluator(), self.subnet(subnet_id)
            check_folder(folder)
            for latencies in self.latencies[:1]:
                latencies.table.read()  # what the export needs is here before hours are spent
            learning_rate = learning_rate or self.experiment.training.finetuning_rate
            how = {"epochs": epochs, "learning_rate": learning_rate, "distillation": distillation}
            taught = f"-{distillation:g}" if distillation else ""
            name = f"finetune-{subnet_id}-{epochs}-{learning_rate:g}{taught}.safetensors"
            with progress_bar(f"fine-tuning {subnet_id}") as update:
                values = finetune(
                    evaluator,
                    subnet,
                    self.folder.schedule,
                    epochs=epochs,
                    learning_rate=learning_rate,
                    seed=self.experiment.seed,
                    checkpoint=self.folder.checkpoint.with_name(name),
                    identity=dict(self.archives.weights),
                    distillation=distillation,
                    teacher=largest_as_teacher(evaluator) if distillation else None,
                    progress=update,
                )
            exported = self._export(evaluator, subnet, folder, values=values, finetuned=how)
        return FineTuned(values, exported)

    def finetune_front(
        self, *, epochs: int = 3, learning_rate: float | None = None, distillation: float = 0.5
    ) -> pd.DataFrame:
        """Fine-tune every network of the front, each exported; one whose folder is there is not fine-tuned again.

        Args:
            epochs: See `finetune`.
            learning_rate: See `finetune`.
            distillation: See `finetune`.

        Returns:
            The front with `METRIC_val` and `METRIC_test` as they are after it, and as they were with `_before` behind; it is
            in the run folder as `finetuned.csv`, too.

        Raises:
            InvalidInputError: If a folder is in the way, or some were fine-tuned otherwise.
            VerificationError: If a file does not compute what was trained.
        """
        front, learning_rate = self.front(), learning_rate or self.experiment.training.finetuning_rate
        how: dict[str, Any] = {"epochs": epochs, "learning_rate": learning_rate, "distillation": distillation}
        with self.folder.locked():
            folders = {name: self.folder.finetuned_path(name) for name in front["id"]}
            done = check_fine_tuned(list(folders.values()), how)
            for subnet_id, folder in folders.items():
                if folder in done:
                    logger.info("%s was fine-tuned before and stays as it is", subnet_id)
                else:
                    self.finetune(subnet_id, **how)
            found = with_fine_tuned(front, list(folders.values()), [metric.name for metric in self.task.metrics])
            write_atomically(self.folder.finetuned_csv, found.to_csv(index=False).encode())
        return found

    def verify(self, subnet_id: str) -> Verification:
        """Verify a network that was exported into the run folder again, see `nas.export.verification.verify`."""
        return verify(self.folder.export_path(subnet_id), self.experiment.data.path, self.experiment.plugin_files)

    def _export(self, evaluator: SupernetEvaluator, subnet: Subnet, folder: Path, **settings: Any) -> Exported:
        device, n_measured = self.latencies[0].table if self.latencies else None, len(self.archives.genomes())
        settings |= {"pretrained": self.pretrained.describe(), "chat": self.pretrained.chat} if self.pretrained else {}
        with torch_threads(self.experiment.threads):
            return export_subnet(self.folder, evaluator, subnet, folder, device=device, n_measured=n_measured, **settings)

    def _check_start(self) -> None:
        """Check what can be before anything is written."""
        self.check_constraints(measured=False)
        if self.experiment.training.init_from and not (self.folder.checkpoint.exists() or self.folder.supernet.exists()):
            init_from(new_supernet(self.experiment, self.space, self.data), expanded(self.experiment.training.init_from))
