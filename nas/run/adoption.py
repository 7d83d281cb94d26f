"""Adoption: a model that a user has trained, in a folder: read, repaired, priced, searched. Needs no torch."""

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nas.data.load import expanded
from nas.data.samples import PARTS, Arrays, Samples, read_samples, save_samples
from nas.events.files import file_digest, write_atomically
from nas.events.progress import working
from nas.export.adopted import export_adopted
from nas.export.folder import Exported
from nas.objectives.adopted_evaluator import AdoptedEvaluator, inputs_of
from nas.objectives.columns import minimized_columns
from nas.ptq.bank import Bank, build_bank, correct_biases, mixed, observe_layers, observe_values, offered, scales_of
from nas.ptq.calibration import CALIBRATORS
from nas.ptq.doors import stored_model
from nas.ptq.importing import Check, describe, import_model, original_outputs
from nas.ptq.repair.rounding import ROUNDINGS
from nas.ptq.sensitivity import SENSITIVITIES
from nas.ptq.sensitivity.sensitivity import table_of
from nas.ptq.settings import AUTO
from nas.run.archives import Archives
from nas.run.base import BaseRun
from nas.run.experiment import Experiment
from nas.run.folder import RunFolder
from nas.run.provenance import provenance, recorded
from nas.run.resolve import create_folder, resolve_experiment
from nas.run.stages.adopt import bisect, examined, given_samples, search_adopted
from nas.run.stages.front import write_front
from nas.search.pareto import knee
from nas.search.study import SearchResult
from nas.tasks.divergence import DIVERGENCE, ERROR, KINDS, kind_of
from nas.tasks.metric import Metric
from search_spaces.costs import FactorTable
from search_spaces.errors import DamagedFileError, InvalidInputError
from search_spaces.importing.space import Adopted
from search_spaces.space.space import SearchSpace

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judged:
    """What is measured of mixtures, as `Archives` asks for it."""

    metrics: tuple[Metric, ...]
    chance: float = np.inf

    @property
    def metric(self) -> Metric:
        """The first, which steers."""
        return self.metrics[0]


class Adoption(BaseRun):
    """A trained model in a folder; each stage reads what it needs from there and goes on where it was stopped.

    Make one with `create` (`nas.adopt`), or open one with `open` (`nas.open_run`).
    """

    @classmethod
    def create(
        cls,
        experiment: Experiment | Mapping[str, Any] | str | Path,
        folder: str | Path | None = None,
        *,
        overrides: Sequence[str] = (),
        model: bytes | None = None,
        samples: Mapping[str, Any] | None = None,
    ) -> "Adoption":
        """Make a run of an experiment with `adopt.model`, or open the one that the same experiment made before.

        The model is copied into the folder, so that nothing depends on the user's file any more.

        Args:
            experiment: An experiment, its keys and values, or a YAML file.
            folder: By default `runs/NAME`.
            overrides: See `Run.create`.
            model: Bytes of an ONNX file in place of what `adopt.model` names, which is then no more than its name.
            samples: Arrays in place of what `adopt.samples` names.

        Raises:
            InvalidInputError: If something in it is wrong, or the folder holds another experiment, or one of another model.
        """
        resolved, path = resolve_experiment(experiment, folder, overrides)
        settings = resolved.adopt
        if not settings.samples:
            raise InvalidInputError("samples are needed, of what the model takes: --samples data.npz")
        content = stored_model(settings.model) if model is None else model
        run = cls(RunFolder(path, resolved))
        is_new = not (path / "experiment.yaml").exists()
        if is_new or samples is not None or not run.samples_file.exists():
            found = examined(resolved, content, samples)  # whatever is wrong is said before anything is written
        run = cls(create_folder(path, resolved, _fingerprint(resolved)))
        if not run.original.exists():
            write_atomically(run.original, content)
        elif run.original.read_bytes() != content:
            raise InvalidInputError(
                f"'{path}' was made of another model than '{settings.model}' is now; choose another folder with --out"
            )
        if not run.samples_file.exists():
            save_samples(found, run.samples_file)
        elif samples is not None or Path(settings.samples).exists():  # a function may give others each time
            found = given_samples(resolved, inputs_of(run.adopted), samples)
            if found.digest != run.samples.digest:
                raise InvalidInputError(
                    f"'{path}' was made with other samples than are given now ({settings.samples}); choose another folder"
                )
        return run

    @classmethod
    def open(cls, folder: str | Path, *, overrides: Sequence[str] = ()) -> "Adoption":
        """Open a folder that an adoption made; arguments as for `Run.open`."""
        found = RunFolder.open(expanded(str(folder)))
        if not found.experiment.adopt.is_set:
            raise InvalidInputError(f"'{found.path}' is a run that trains, made by `hwnas run`: no model was adopted there")
        return cls(found.with_overrides(overrides))

    # ------------------------------------------------------------------ parts

    @property
    def original(self) -> Path:
        """The user's model, as ONNX."""
        return self.folder.path / "original.onnx"

    @property
    def samples_file(self) -> Path:
        """The samples in three parts."""
        return self.folder.path / "samples.npz"

    @property
    def metric(self) -> Metric:
        """See `BaseRun`."""
        return DIVERGENCE

    @cached_property
    def adopted(self) -> Adopted:
        """The network as it was read, and how far it is from the original."""
        return self._imported[0]

    @property
    def check(self) -> Check:
        """How far the network as it was read is from the original."""
        return self._imported[1]

    @cached_property
    def _imported(self) -> tuple[Adopted, Check]:
        if not self.original.exists():
            raise DamagedFileError(f"'{self.folder.path}' lacks original.onnx; adopt the model again into another folder")
        settings = replace(self.experiment.adopt, model=str(self.original))
        return import_model(settings, self.samples.calibrate, formats=self.experiment.formats)

    @cached_property
    def space(self) -> SearchSpace:
        """The search space: a number format for each group."""
        return self.adopted.space

    @cached_property
    def samples(self) -> Samples:
        """The user's samples in three parts, as they were when the run was made."""
        return read_samples(self.samples_file)

    @cached_property
    def references(self) -> dict[str, Arrays]:
        """What the original gives, by part of the samples and output."""
        return {part: original_outputs(self.original, inputs_of(self.adopted), self.samples.split(part)) for part in PARTS}

    @cached_property
    def bank(self) -> Bank:
        """Every layer in every format, repaired; made once and kept in the folder."""
        file, identity = self.folder.path / "bank.npz", json.dumps(self._identity, sort_keys=True)
        note = file.with_suffix(".json")
        with suppress(OSError, ValueError):  # a note that was torn is none
            noted = json.loads(note.read_text())
            if noted.get("identity") == identity and file_digest(file) == noted.get("digest", file_digest(file)):
                return Bank.from_bytes(file.read_bytes(), self.adopted.imported.weights)
        bank, chosen = self._repaired()
        write_atomically(file, bank.to_bytes())
        write_atomically(note, json.dumps({"identity": identity, "digest": file_digest(file), **chosen}).encode())
        return bank

    @cached_property
    def _identity(self) -> dict[str, Any]:
        """What everything that is measured depends on."""
        settings = asdict(self.experiment.adopt)
        made_by = ("calibrator", "rounding", "bias_correction", "max_layers", "shapes", "outputs", "steer", "kinds")
        return {
            "original": file_digest(self.original),
            "samples": self.samples.digest,
            "space": self.space.digest,
            "seed": self.experiment.seed,
            **{name: settings[name] for name in made_by},
        }

    def _repaired(self) -> tuple[Bank, Mapping[str, str]]:
        """Return the bank, and what was chosen for it: calibrator, and rounding and biases of each width of weights."""
        settings, given = self.experiment.adopt, self.samples.calibrate
        seed, threads = self.experiment.seed, self.experiment.threads
        with working("repairing every layer in every format"):
            values = observe_values(self.adopted, given, seed=seed, threads=threads)
            layers = observe_layers(self.adopted, given, seed=seed, threads=threads)
            formats = offered(self.adopted)
            if not formats:
                return Bank(self.adopted.imported.weights, {}, {}), {}
            calibrators = CALIBRATORS.names if settings.calibrator == AUTO else (settings.calibrator,)
            by_scale = {name: scales_of(self.adopted, values, name) for name in calibrators}
            scaled = {name: build_bank(self.adopted, layers, scales, "nearest") for name, scales in by_scale.items()}
            calibrator = self._best(formats[0].name, scaled)
            roundings = ROUNDINGS.names if settings.rounding == AUTO else (settings.rounding,)
            rounded = {name: build_bank(self.adopted, layers, by_scale[calibrator], name) for name in roundings}
            ways = {p.weights.bits: self._best(p.name, rounded) for p in formats}
            bank = mixed({bits: rounded[way] for bits, way in ways.items()})
            if settings.bias_correction:
                both = {"": bank, ", biases": correct_biases(self.adopted, bank, layers, given, threads=threads)}
                biases = {p.weights.bits: self._best(p.name, both) for p in formats}
                bank = mixed({bits: both[way] for bits, way in biases.items()})
                ways = {bits: way + biases[bits] for bits, way in ways.items()}
        chosen = {"activations": calibrator, **{f"{bits} bits": way for bits, way in ways.items()}}
        logger.info("repaired: %s", "; ".join(f"{what} by {way}" for what, way in chosen.items()))
        return bank, chosen

    def _best(self, name: str, banks: Mapping[str, Bank]) -> str:
        """Return which bank makes a network, as far as may be of one format, diverge least on the samples to calibrate."""
        if len(banks) == 1:
            return next(iter(banks))
        options = [choice.options for choice in self.space.choices]
        genome = np.array([own.index(name) if name in own else 0 for own in options], np.int16)
        graph = self.space.subnet(genome).graph
        losses = {way: self._evaluator(bank).values(graph, "calibrate")[DIVERGENCE.name] for way, bank in banks.items()}
        return min(losses, key=lambda way: losses[way])

    def _evaluator(self, bank: Bank) -> AdoptedEvaluator:
        weights, threads = self.experiment.adopt.outputs, self.experiment.threads
        kinds, steer = self.experiment.adopt.kinds, self.experiment.adopt.steer
        settings: dict[str, Any] = {"weights": weights, "kinds": kinds, "steer": steer, "threads": threads}
        return AdoptedEvaluator(self.adopted, bank, self.samples, self.references, **settings)

    @cached_property
    def evaluator(self) -> AdoptedEvaluator:
        """What measures mixtures."""
        return self._evaluator(self.bank)

    @cached_property
    def archives(self) -> Archives:
        """What was measured."""
        judged = Judged((DIVERGENCE, *([ERROR] if self.samples.answers else [])))
        weights = {key: json.dumps(value, sort_keys=True) for key, value in self._identity.items()}
        return Archives(self.folder, self.space, judged, self.samples.sizes["val"], lambda: weights)  # type: ignore[arg-type]

    # ------------------------------------------------------------------ stages

    def run(self) -> pd.DataFrame:
        """Read, measure the tables, repair, price, search, and write the report; return the front."""
        with self.folder.locked():
            for line in self.read():
                logger.info("%s", line)
            self.check_constraints()
            self.measure()
            self.search()
            self.report()
        return self.front()

    def read(self) -> list[str]:
        """Read the model, check it against the original on the samples, and return in lines what was found.

        Raises:
            VerificationError: If what was read computes something else.
        """
        settings = self.experiment.adopt
        lines = describe(self.adopted, self.check)
        sizes = self.samples.sizes
        seen = ", ".join(f"'{name}' {low:.4g} to {high:.4g}" for name, (low, high) in self.samples.ranges.items())
        lines.append(
            f"samples: {sizes['calibrate']} calibrate, {sizes['val']} choose, {sizes['test']} test; seen: {seen}"
            + (
                f"; pictures as (pixel / 255 - {list(settings.pictures.mean)}) / {list(settings.pictures.std)}"
                if self._has_pictures
                else ""
            )
        )
        kinds = {name: kind_of(array) for name, array in self.references["val"].items() if array.dtype.kind == "f"}
        named = ", ".join(f"'{name}' by {KINDS[kind]}" for name, kind in {**kinds, **settings.kinds}.items())
        return [*lines, f"divergence: {named} (adopt.kinds)"]

    @property
    def _has_pictures(self) -> bool:
        samples = self.experiment.adopt.samples
        return ".py:" not in samples and Path(samples).suffix != ".npz" and samples != ARRAYS

    def price(self) -> FactorTable:
        """Return what predicts the divergence of every mixture: what each group loses in each format, added up."""
        file = self.folder.path / "sensitivity.json"
        identity = json.dumps({**self._identity, "sensitivity": self.experiment.adopt.sensitivity}, sort_keys=True)
        known: dict[str, float] = {}
        if file.exists():
            with suppress(ValueError, KeyError):  # one that was torn is made again
                content = json.loads(file.read_text())
                known = content["losses"] if content.get("identity") == identity else {}

        def keep(name: str, value: float) -> None:
            known[name] = value
            write_atomically(file, json.dumps({"identity": identity, "losses": known}).encode())

        losses = SENSITIVITIES.get(self.experiment.adopt.sensitivity)(self.evaluator, dict(known), keep)
        return table_of(self.space, losses)

    def search(self, **settings: Any) -> SearchResult:
        """Measure mixtures near the predicted fronts, and write the front of what was measured.

        Raises:
            NotReadyError: If a latency table is missing.
            InvalidInputError: If nothing satisfies the constraints.
        """
        with self.folder.locked():
            result = search_adopted(self, self.price(), **settings)
            write_front(
                self.folder,
                self.measurements(),
                self.latencies,
                metric=self.metric.name,
                noise=self.experiment.search.noise,
                heading={"bank": self._identity["original"]},
                measure_test=lambda genomes: self.archives.measure_test(genomes, self.evaluator),
            )
        return result

    def floor_id(self) -> str:
        """Return the id of the fastest mixture that keeps `adopt.floor`, found by bisection; without one the knee's."""
        if not self.experiment.adopt.floor:
            return self.knee_id()
        return self.space.subnet(bisect(self, self.price())).id

    def knee_id(self) -> str:
        """Return the id of the front's network at its bend: behind it, gaining in one objective costs most in others."""
        front = self.front()
        return str(front["id"].iloc[knee(minimized_columns(front, self.folder.objectives))])

    def export(self, subnet_id: str, to: str | Path | None = None, **options: Any) -> Exported:
        """Export a measured mixture, verified.

        Args:
            subnet_id: Its id.
            to: New folder; by default `export/ID` in the run folder.
            options: `int4`, see `search_spaces.lower`.

        Raises:
            InvalidInputError: If there is no such network, the folder is in the way, or an option is asked for.
            VerificationError: If the file does not compute what its integers say; nothing is written then.
        """
        int4 = bool(options.pop("int4", False))
        if asked := sorted(name for name, value in options.items() if value not in (False, None, DEFAULT)):
            raise InvalidInputError(f"of an adopted model only model.onnx is written; there is no {', '.join(asked)}")
        folder = expanded(str(to)) if to else self.folder.export_path(subnet_id)
        subnet = self.subnet(subnet_id)
        device = self.latencies[0].table if self.latencies else None
        table = device.read() if device else None
        facts = recorded(self.folder, self.space, subnet.id)
        with working(f"exporting {subnet.id} and verifying it"):
            return export_adopted(
                self.evaluator,
                subnet,
                folder,
                original=self.original,
                check=self.check,
                formats=self.experiment.formats,
                settings={name: asdict(self.experiment.adopt)[name] for name in ("shapes", "formats", "max_layers")},
                name=Path(self.experiment.adopt.model).name,
                int4=int4,
                pictures=self.experiment.adopt.pictures if self._has_pictures else None,
                seed=self.experiment.seed,
                facts=facts | ({"device": dict(table.fingerprint)} if table else {}),
                found=provenance(self.folder, self.space, table, n_measured=len(self.archives.genomes())),
                time_file=device.time_file if device and device.times_files else None,
            )


DEFAULT = "onnxruntime"  # of what exports are written for
ARRAYS = "arrays"  # samples that came as such, from Python


def _fingerprint(experiment: Experiment) -> Mapping[str, Any]:
    device = next(iter(experiment.devices.values()), None)
    if device is None:
        return {}
    return {"remote": device.name} if device.remote else device.fingerprint()
