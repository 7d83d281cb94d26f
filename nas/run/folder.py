"""A run is a folder: where its files are, what they must agree with, and the front that a user queries."""

import hashlib
import importlib.metadata
import io
import json
import math
import numbers as numbers_abc
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from filelock import FileLock, Timeout

from nas.archive.storage import sqlite_url
from nas.events import distributed
from nas.events.files import write_atomically
from nas.events.renamed import COLUMNS, renamed_columns
from nas.objectives.columns import EXACT, Column, latencies, minimized, numbers, select, with_its_own
from nas.objectives.table_files import read_table
from nas.report.query import Scores
from nas.run.experiment import Experiment
from nas.run.names import checked
from nas.run.rounds import PartFile, RoundsFile
from nas.run.yaml import override
from nas.training.schedule import SamplerSettings, Schedule
from search_spaces.errors import DamagedFileError, InvalidInputError, NotReadyError

VERSIONED = ("hwnas", "torch", "numpy", "pymoo", "optuna", "onnx", "onnxruntime", "scikit-learn")


class RunFolder:
    """A folder that a run is written into.

    Args:
        path: The folder.
        experiment: What the run is about.
        number: Of the round of training and search whose files are meant; None: the last one that was kept.

    Attributes:
        number: Of the round: 0 for the first training and search, whose files lie in the folder itself.
        state: Holds the files of the round.
    """

    def __init__(self, path: Path, experiment: Experiment, number: int | None = None) -> None:
        self.path = path
        self.experiment = experiment
        self.rounds = RoundsFile(path)
        self.number = self.rounds.current if number is None else number
        self.state = path / "rounds" / str(self.number) if self.number else path
        self.checkpoint = self.state / "checkpoint" / "last.safetensors"
        self.supernet = self.state / "supernet.safetensors"
        self.part = PartFile(self.state / "part.json")
        self.begun = self.state / "schedule.json"
        self.tensorboard = self.state / "tensorboard"
        self.archive = self.state / "archive.db"
        self.front_csv = self.state / "front.csv"
        self.baselines_csv = self.state / "baselines.csv"
        self.front_checksums = self.state / "front.sha256"
        self.front_png = self.state / "front.png"
        self.finetuned_csv = self.state / "finetuned.csv"
        self.report = path / "report.html"
        self._lock = FileLock(path / ".lock", timeout=0, is_singleton=True)  # the system frees it when a process dies

    @property
    def schedule(self) -> Schedule:
        """How the supernet of the round is trained: as it was begun, whatever settings say by now.

        Raises:
            DamagedFileError: If the file that says so is damaged.
        """
        training = self.experiment.training
        if not self.number:
            return training
        if not self.begun.exists():
            return self.experiment.specialise.schedule(training)
        try:
            content = json.loads(self.begun.read_text())
            return Schedule(**{**content, "sampler": SamplerSettings(**content["sampler"])})
        except (ValueError, TypeError, KeyError) as error:
            raise DamagedFileError(f"'{self.begun}' is damaged; delete the folder of its round to train it anew") from error

    @property
    def command(self) -> str:
        """The command that searches in it and goes on with it."""
        is_new_round = self.number > self.rounds.current
        verb = "adopt" if self.experiment.adopt.is_set else "specialise" if is_new_round else "search"
        return f"hwnas {verb} {self.path}"

    def begin(self) -> None:
        """Keep how the round is trained."""
        if not self.begun.exists():
            write_atomically(self.begun, json.dumps(asdict(self.schedule), indent=1).encode())

    def at(self, number: int) -> "RunFolder":
        """Return the folder with the files of another round."""
        return RunFolder(self.path, self.experiment, number)

    @classmethod
    def create(cls, path: Path, experiment: Experiment, fingerprint: Mapping[str, Any]) -> "RunFolder":
        """Make the folder, or take the one that the same experiment made before.

        Raises:
            InvalidInputError: If the folder holds another experiment, or something that is no run.
        """
        file = path / "experiment.yaml"
        if file.exists():
            run = cls.open(path)
            run._check_same(experiment)
            return run
        if path.is_dir():
            for torn in path.glob(f".{file.name}.*"):  # of a start that was killed
                torn.unlink()
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise InvalidInputError(f"'{path}' exists and is no run folder; choose another folder with --out")
        facts = {
            "python": platform.python_version(),
            "packages": {name: importlib.metadata.version(name) for name in VERSIONED},
            "device": dict(fingerprint),
        }
        text = yaml.safe_dump({"experiment": experiment.to_dict(), "made_with": facts}, sort_keys=False)
        try:
            write_atomically(file, text.encode())
        except OSError as error:
            raise InvalidInputError(f"cannot write the run folder '{path}': {error.strerror}") from error
        return cls(path, experiment)

    def _check_same(self, wanted: Experiment) -> None:
        """Raise `InvalidInputError`, with what differs, if the folder is of another experiment."""
        mine, theirs = _flat(wanted.to_dict()), _flat(self.experiment.to_dict())
        differing = [key for key in mine | theirs if mine.get(key) != theirs.get(key)]
        if not differing:
            return
        what = "; ".join(f"{key} was {theirs.get(key)}, is {mine.get(key)}" for key in differing[:3])
        way_out = "choose another folder with --out"
        if all(key.startswith(("search.", "specialise.")) for key in differing):
            verb = "adopt" if self.experiment.adopt.is_set else "run"
            way_out += f", or go on with this one, and change it, by `hwnas {verb} {self.path} --set KEY=VALUE`"
        raise InvalidInputError(f"'{self.path}' holds another experiment ({what}); {way_out}")

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """Open a folder that a run made.

        Raises:
            InvalidInputError: If it is none, or its `experiment.yaml` is damaged.
        """
        file = path / "experiment.yaml"
        try:
            content = yaml.safe_load(file.read_text())
        except OSError as error:
            raise InvalidInputError(
                f"'{path}' is no run folder: it holds no experiment.yaml; make one with `hwnas run`"
            ) from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise DamagedFileError(f"'{file}' is damaged: {' '.join(str(error).split())}") from error
        if not isinstance(content, dict) or not {"experiment", "made_with"} <= set(content):
            raise DamagedFileError(f"'{file}' is damaged: it must hold `experiment`, then `made_with`")
        return cls(path, Experiment.from_dict(content["experiment"], str(file)))

    def with_overrides(self, overrides: Sequence[str]) -> "RunFolder":
        """Return the run with other settings of its search or its further rounds, which are kept in the folder too.

        Args:
            overrides: `search.KEY=VALUE` or `specialise.KEY=VALUE`, see `Experiment.from_yaml`.

        Raises:
            InvalidInputError: If another key is named: what was trained and measured depends on it; or a value is wrong.
        """
        if not overrides:
            return self
        if others := [text for text in overrides if not text.startswith(("search.", "specialise."))]:
            raise InvalidInputError(
                f"only keys of `search` and `specialise` can be changed in '{self.path}', which was begun, not {others}"
            )
        file = self.path / "experiment.yaml"
        content = yaml.safe_load(file.read_text())
        for text in overrides:
            override(content["experiment"], text)
        changed = RunFolder(self.path, checked(Experiment.from_dict(content["experiment"], str(file))))
        if changed.experiment != self.experiment:
            content["experiment"] = changed.experiment.to_dict()
            write_atomically(file, yaml.safe_dump(content, sort_keys=False).encode())
        return changed

    def copied(self, path: Path) -> "RunFolder":
        """Return a copy of the run, without exports and rounds that were not kept; or the copy that is there.

        Raises:
            InvalidInputError: If something else is there, or the archive is a database that runs share.
        """
        origin = str(self.path.resolve())
        if (path / "copy_of").exists() and (path / "copy_of").read_text() == origin:
            return RunFolder.open(path)
        if path.exists() and any(path.iterdir()):
            raise InvalidInputError(f"'{path}' exists and is no copy of '{self.path}'; choose another folder with --to")
        if self.experiment.archive:
            raise InvalidInputError("the archive of this run is a database that runs share: make its rounds without --to")
        kept = [each for each in self.rounds.read() if each.pays]
        left_out = ("export", "finetuned*", "tensorboard", "checkpoint", "report.html", ".lock", "rounds*")
        torn = path.with_name(f".{path.name}.copying")
        with self.locked():
            shutil.rmtree(torn, ignore_errors=True)
            for part in (Path(), *(Path("rounds") / str(each.number) for each in kept)):
                shutil.copytree(self.path / part, torn / part, ignore=shutil.ignore_patterns(*left_out))
        RoundsFile(torn).write(kept)
        (torn / "copy_of").write_text(origin)
        if path.exists():
            path.rmdir()
        torn.replace(path)
        return RunFolder.open(path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep others from changing the folder meanwhile; of several processes that have joined, the first does.

        Within it the same run may ask for it again.

        Raises:
            NotReadyError: If another command is changing it.
        """
        if not distributed.is_main():
            yield
            return
        if not (self.path / "experiment.yaml").exists():
            raise NotReadyError(f"'{self.path}' is no run folder from here: has it moved, or the working directory changed?")
        lock = self._lock
        try:
            lock.acquire()
        except Timeout as error:
            raise NotReadyError(f"another hwnas command is working on '{self.path}'; wait until it has ended") from error
        try:
            yield
        finally:
            lock.release()

    @property
    def storage(self) -> str:
        """URL of the archive's database."""
        return sqlite_url(self.archive)

    @property
    def objectives(self) -> list[str]:
        """Columns of the front that the search minimised."""
        return [Column.of_objective(name).name for name in self.experiment.search.objectives]

    def table_path(self, device: str, phase: str = "") -> Path:
        """Return where the latency table of a device lies, of networks with phases that of one."""
        return self.path / "latency" / f"{device}{f'@{phase}' if phase else ''}.json"

    def export_path(self, subnet_id: str) -> Path:
        """Return where a subnet is exported to."""
        return self.state / "export" / subnet_id

    def finetuned_path(self, subnet_id: str) -> Path:
        """Folder that a fine-tuned subnet is exported to by default."""
        return self.state / "finetuned" / subnet_id

    def front(self, max: Mapping[str, float] | None = None, min: Mapping[str, float] | None = None) -> pd.DataFrame:  # noqa: A002
        """Return the measured front.

        Args:
            max: Greatest value by column, such as `{"latency_ms": 0.5}`.
            min: Least value by column.

        Returns:
            A row for each network: its id, choices and numbers; sorted by the first objective.

        Raises:
            NotReadyError: If there is no front yet.
            DamagedFileError: If it is damaged.
            InvalidInputError: If a column does not exist or holds no numbers.
        """
        for name, bound in [*(max or {}).items(), *(min or {}).items()]:
            if not isinstance(bound, numbers_abc.Real) or math.isnan(bound):
                raise InvalidInputError(f"a bound is a number, as {{'latency_ms': 0.5}}; got {bound!r} for '{name}'")
        upper, lower = (dict(zip(renamed_columns(x, ""), x.values(), strict=True)) for x in (max or {}, min or {}))
        return select(self._read_csv(self.front_csv), upper, lower)

    def scores(self) -> Scores:
        """Return the measured front with what it is compared with.

        Raises:
            NotReadyError: If there is none yet.
            DamagedFileError: If it is damaged.
        """
        path = self.table_path(next(iter(self.experiment.devices), ""), next(iter(self.experiment.phases), ""))
        table = read_table(path) if path.exists() else None
        front = self.front()
        return Scores(front, self.baselines(), self.objectives, table, asdict(self.experiment.data), self.ranked(front))

    def ranked(self, front: pd.DataFrame) -> list[str]:
        """Return the columns by which networks of a front are told apart: a loss beside a metric stands for it."""
        found = []
        for column in (Column.from_name(name) for name in self.objectives):
            loss = replace(column, metric=column.quantity.loss or column.metric)
            found.append(loss.name if loss.name in front and self.experiment.search.order != "metric" else column.name)
        return found

    def best_id(self) -> str:
        """Return the id of the front's network with the best metric; of equals the fastest."""
        front, metric = self.front(), Column.of_objective(self.experiment.metric.name)
        second = front[next((column.name for column in latencies(front)), "size_bytes")]
        order = np.lexsort((second, minimized(metric, front[metric.name].to_numpy(float))))
        return str(front["id"].iloc[order[0]])

    def baselines(self) -> pd.DataFrame:
        """Return the measured baselines, with their names in column `baseline`."""
        return self._read_csv(self.baselines_csv)

    def write_front(self, front: pd.DataFrame, baselines: pd.DataFrame) -> None:
        """Write the measured front and the baselines, and the sums by which damage is known; `sha256sum -c` reads them.

        The sums of the old files stay until the new ones lie: a disk that fills up, or a kill, leaves files that are known.
        """
        files = {self.baselines_csv: baselines, self.front_csv: front}
        content = {path: table.to_csv(index=False).encode() for path, table in files.items()}
        checksums = [f"{hashlib.sha256(text).hexdigest()}  {path.name}\n" for path, text in content.items()]
        write_atomically(self.front_checksums, (self._known_checksums() + "".join(checksums)).encode())
        for path, text in content.items():
            write_atomically(path, text)
        write_atomically(self.front_checksums, "".join(checksums).encode())

    def _known_checksums(self) -> str:
        return self.front_checksums.read_text(errors="replace") if self.front_checksums.exists() else ""

    def _read_csv(self, path: Path) -> pd.DataFrame:
        if not path.exists():
            raise NotReadyError(f"'{self.path}' has no {path.name} yet; make it with `{self.command}`")
        remedy = f"make it anew with `{self.command}`"
        try:
            text = path.read_text()
            table = pd.read_csv(io.StringIO(text), dtype={"id": str, "baseline": str}).rename(columns=COLUMNS)
        except (OSError, ValueError) as error:
            raise DamagedFileError(f"'{path}' is damaged ({' '.join(str(error).split())}); {remedy}") from error
        needed = ["id", "baseline"] if path.name == "baselines.csv" else ["id"]
        metric = self.experiment.metric.name
        timed = self.experiment.latencies_of(0) if self.experiment.devices else ()
        own = [column for latency in timed for column in with_its_own(latency)]
        names = [column.name for column in (Column(metric, "val"), Column(metric, "test"), *own, *EXACT)]
        broken = [n for n in names if n not in table or table[n].dtype.kind not in "if" or table[n].isna().any()]
        broken += [name for name in needed if name not in table or table[name].isna().any()]
        if broken or not text.endswith("\n"):
            raise DamagedFileError(f"'{path}' is damaged: it is cut off, or {broken} are not whole; {remedy}")
        if f"{hashlib.sha256(text.encode()).hexdigest()}  {path.name}\n" not in self._known_checksums():
            raise DamagedFileError(f"'{path}' is not what was written, by '{self.front_checksums.name}'; {remedy}")
        choices = table.columns.difference([*numbers(table), *needed, "tied"])
        floats = [name for name in choices if table[name].dtype.kind == "f"]
        return table.astype({name: "Int64" for name in floats if (table[name].dropna() % 1 == 0).all()})


def _flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in content.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            flat[f"{prefix}{key}"] = repr(float(value)) if is_number else json.dumps(value)
    return flat
