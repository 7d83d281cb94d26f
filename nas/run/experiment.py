"""Experiment: everything a run depends on, read from YAML. These objects stop at `pipeline.py`.

The comment under each field is its help.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from latency_tables.analytical import Accelerator
from latency_tables.device import Device
from nas.events.renamed import renamed_experiment, renamed_keys
from nas.objectives import objective  # noqa: F401  declares metrics
from nas.run.yaml import build, override, read_yaml
from nas.tasks import METRICS, TASKS
from nas.training.schedule import Schedule
from search_spaces.errors import InvalidInput

ESTIMATED = tuple(name for name, metric in METRICS.items() if metric.is_estimated)
OTHER_DEVICE = "latency_ms@"  # followed by the name of one of `more_devices`


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Samples and what networks should make of them."""

    name: str = "digits"
    """`digits`, `fashion_mnist`, `npz` or `image_folder`."""
    path: str | None = None
    """File or folder of the data; `fashion_mnist` finds Debian's package by itself."""
    n_val: int = 0
    """Validation samples taken from the training samples; 0 means a sixth."""

    def __post_init__(self) -> None:
        _check_range("data.n_val", self.n_val, 0, 10**9)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Training of the supernet."""

    float_epochs: int = 24
    """Epochs in which every network is float32."""
    quantized_epochs: int = 8
    """Epochs after that, in which formats are sampled too."""
    batch_size: int = 64
    """Samples a step."""
    learning_rate: float = 0.1
    """Greatest rate of the float stage."""
    quantized_learning_rate: float = 0.02
    """Greatest rate of the quantized stage."""
    warmup_epochs: int = 2
    """Epochs over which the rate grows at the start."""
    momentum: float = 0.9
    """Of SGD, in Nesterov's form."""
    weight_decay: float = 1e-4
    """On weights only."""
    n_random: int = 2
    """Random networks in a step, beside the largest and the smallest."""
    label_smoothing: float = 0.1
    """Of the loss on classes."""
    clip_norm: float = 5.0
    """Greatest norm of the gradient."""
    random_translate: int = 1
    """Training images are moved by up to so many pixels."""
    distillation: float = 0.0
    """Share of the other networks' loss that the answers of the largest give instead of the targets, 0 to 1."""
    shrink_start: float = 0.0
    """Share of the float stage in which the largest network is trained alone."""
    progressive_bits: bool = True
    """Formats join one by one over the first half of the quantized stage; without, all at its start."""
    uniform_share: float = 0.0
    """Share of the random networks that have one format throughout."""
    kurtosis: float = 0.0
    """Weight of a regularizer that spreads weights evenly for few bits; EQ-Net has 0.015."""
    init_from: str = ""
    """File of trained weights, as another run's supernet.safetensors, to begin with."""
    compile: bool = True
    """Compile the quantizer: several times faster, once some seconds, needs a C++ compiler."""
    bfloat16: bool = False
    """Compute float32 convolutions of the float stage in bfloat16, where the machine has it."""

    def __post_init__(self) -> None:
        for name in ("float_epochs", "quantized_epochs", "warmup_epochs"):
            _check_range(f"training.{name}", getattr(self, name), 0, 100_000)
        _check_range("training.distillation", self.distillation, 0, 1)
        _check_range("training.n_random", self.n_random, 0, 64)
        _check_range("training.random_translate", self.random_translate, 0, 64)
        _check_range("training.batch_size", self.batch_size, 2, 65_536)
        _check_range("training.momentum", self.momentum, 0, 0.999)
        _check_range("training.weight_decay", self.weight_decay, 0, 1)
        _check_range("training.label_smoothing", self.label_smoothing, 0, 0.99)
        for name in ("learning_rate", "quantized_learning_rate"):
            _check_range(f"training.{name}", getattr(self, name), 1e-9, 10)
        _check_range("training.shrink_start", self.shrink_start, 0, 1)
        _check_range("training.uniform_share", self.uniform_share, 0, 1)
        _check_range("training.kurtosis", self.kurtosis, 0, 1e3)
        _check_range("training.clip_norm", self.clip_norm, 1e-9, 1e9)
        _check_range(
            "training.float_epochs + training.quantized_epochs", self.float_epochs + self.quantized_epochs, 1, 200_000
        )

    def to_schedule(self) -> Schedule:
        """Return what the trainer takes: all of this but the weights to start from."""
        settings = asdict(self)
        del settings["init_from"]
        return Schedule(**settings)


@dataclass(frozen=True, kw_only=True)
class DeviceConfig:
    """The device that latency is measured on."""

    label: str = ""
    """Name of the device in file names; empty: made of runtime and threads."""
    remote: bool = False
    """The device is not this machine: benchmark bundles measure there, see docs/own-device.md; needs a label."""
    backend: str = "onnxruntime"
    """Runtime; `hwnas devices` lists them."""
    threads: int = 1
    """Threads that compute one network."""
    batch: int = 1
    """Samples that a network takes at once; times are of the whole batch."""
    options: dict[str, str] = field(default_factory=dict)
    """Further settings of the runtime."""

    def __post_init__(self) -> None:
        if self.remote and not self.label:
            raise InvalidInput("a remote device needs a label, as `label: raspberry-pi-5`")
        _check_range("device.threads", self.threads, 1, 1024)
        _check_range("device.batch", self.batch, 1, 65_536)

    @property
    def name(self) -> str:
        """Short name that goes into file names."""
        return self.to_device().name

    def to_device(self) -> Device:
        """Return the device that this describes."""
        settings = asdict(self)
        del settings["remote"]
        return Device(**settings)

    @classmethod
    def from_yaml(cls, path: Path) -> "DeviceConfig":
        """Read a device from a YAML file of its own.

        Raises:
            InvalidInput: If the file is missing or not YAML, or its content is wrong.
        """
        device = build(cls, renamed_keys("device", read_yaml(path, "device"), str(path)), str(path))
        assert isinstance(device, cls)
        return device


@dataclass(frozen=True, kw_only=True)
class TableConfig:
    """Measurement of the latency table."""

    n_fit: int = 40
    """Whole networks that the table is fitted on."""
    n_held_out: int = 40
    """Whole networks that it is validated on."""
    rounds: int = 20
    """Rounds over everything that is measured."""
    seconds: float = 0.01
    """Length of a burst of runs of one model in a round."""
    retry_budget: float = 0.02
    """Seconds to repeat disturbed bursts, on average for each model and round."""
    time_budget_minutes: float = 0
    """Blocks that cannot be timed within so many minutes are estimated; 0: all are timed."""

    def __post_init__(self) -> None:
        _check_range("table.n_fit", self.n_fit, 10, 10_000)
        _check_range("table.n_held_out", self.n_held_out, 10, 10_000)
        _check_range("table.rounds", self.rounds, 2, 1000)
        _check_range("table.retry_budget", self.retry_budget, 0, 3600)
        _check_range("table.seconds", self.seconds, 1e-4, 60)
        _check_range("table.time_budget_minutes", self.time_budget_minutes, 0, 100_000)


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """Search for the front."""

    objectives: tuple[str, ...] = ()
    """Any of the task's metric, latency_ms, size_bytes, macs, latency_ms@NAME of a further device, and estimated_ms or
    estimated_mj; none: the metric, latency_ms and size_bytes."""
    n_measurements: int = 150
    """Networks that are measured."""
    strategy: str = "predictor"
    """Chooses what is measured: predictor, exact, nsga2, local, random, or Optuna's tpe, gp and optuna_nsga2."""
    predictors: str = "auto"
    """Predictor of the metric, for the strategy `predictor`; auto: the one that ranks unseen networks best."""
    tuning_trials: int = 0
    """Trials of Optuna that tune the predictor each time it is chosen; 0: as it is."""
    batch: int = 0
    """Networks to measure before the strategy is asked again; 0: a share of what is left."""
    noise: float = -1
    """Difference of the metric that means nothing: nearer networks are tied, and a search that gains no more ends; 0: never;
    -1: the metric's own, of the error 0.1 points."""
    n_calibration: int = 2000
    """Training samples on which each measured network is recalibrated."""
    max: dict[str, float] = field(default_factory=dict)
    """Limits on any of the objectives but the metric that every network must keep."""
    min: dict[str, float] = field(default_factory=dict)
    """The same from below."""

    def __post_init__(self) -> None:
        if len(set(self.objectives)) != len(self.objectives):
            raise InvalidInput(f"search.objectives must name each objective once, got {list(self.objectives)}")
        for key, limits in (("max", self.max), ("min", self.min)):
            if bad := {name: limit for name, limit in limits.items() if not 0 < limit < math.inf}:
                raise InvalidInput(f"search.{key} must be above 0 and finite, got {bad}")
        if crossed := [name for name in self.max if self.min.get(name, 0) > self.max[name]]:
            raise InvalidInput(f"search.min must not exceed search.max, but does for {crossed}")
        _check_range("search.tuning_trials", self.tuning_trials, 0, 10_000)
        _check_range("search.batch", self.batch, 0, 100_000)
        if self.noise != -1:
            _check_range("search.noise", self.noise, 0, 100)
        _check_range("search.n_measurements", self.n_measurements, 4, 1_000_000)
        _check_range("search.n_calibration", self.n_calibration, 2, 1_000_000)


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Everything a run depends on."""

    name: str
    """Names the run."""
    seed: int = 0
    """Of everything random."""
    threads: int = 2
    """Threads for training and evaluation; another number adds up in another order and gives other weights."""
    task: str = "classification"
    """What networks are for: classification or regression; docs/own-task.md says how to add one."""
    space: str = "mobilenet-digits"
    """Search space; `hwnas spaces` lists them."""
    formats: tuple[str, ...] = ()
    """Number formats to choose from instead of those of the space, as `[float32, w8a8, w3a4]`; see docs/formats.md."""
    accelerator: dict[str, str | float] = field(default_factory=dict)
    """An accelerator whose latency and energy are estimated: the keys of experiments/devices/bitserial.yaml."""
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    archive: str = ""
    """URL of a database for measured networks, as postgresql://user@host/name; empty: SQLite in the run folder."""
    device: DeviceConfig = field(default_factory=DeviceConfig)
    more_devices: tuple[DeviceConfig, ...] = ()
    """Further devices, each with a table of its own; their latencies are called latency_ms@NAME."""
    table: TableConfig = field(default_factory=TableConfig)
    search: SearchConfig = field(default_factory=SearchConfig)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\w[\w.-]{0,99}", self.name):
            raise InvalidInput(
                f"name must be up to 100 letters, digits, '.', '_' or '-', no '.' first; got '{self.name[:120]}'"
            )
        if self.accelerator:
            Accelerator.from_dict(self.accelerator, "accelerator")
        elif wanted := [name for name in ESTIMATED if name in {*self.search.objectives, *self.search.max, *self.search.min}]:
            raise InvalidInput(f"search names {wanted}, which an accelerator gives, but the experiment has no `accelerator`")
        object.__setattr__(self, "search", self._resolved_search())
        names = [device.name for device in (self.device, *self.more_devices)]
        if len(set(names)) != len(names):
            raise InvalidInput(f"each device needs a name of its own, got {names}; give them labels")
        known = {f"{OTHER_DEVICE}{name}" for name in names[1:]}
        named = {*self.search.objectives, *self.search.max, *self.search.min}
        if unknown := sorted(name for name in named if name.startswith(OTHER_DEVICE) and name not in known):
            raise InvalidInput(f"search names {unknown}, but more_devices gives {sorted(known)}")
        _check_range("seed", self.seed, 0, 2**32 - 1)
        _check_range("threads", self.threads, 1, 1024)

    def _resolved_search(self) -> SearchConfig:
        """Return the search with what depends on the task, after a check of the names in it."""
        metric, search = TASKS.get(self.task).metric, self.search
        costs = [name for name, quantity in METRICS.items() if not quantity.of_data]
        for key, names, known in (
            ("objectives must be among", search.objectives, [metric.name, *costs]),
            ("max limits any of", search.max, costs),
            ("min limits any of", search.min, costs),
        ):
            if unknown := [name for name in names if name not in known and not name.startswith(OTHER_DEVICE)]:
                raise InvalidInput(f"search.{key} {known}, got {unknown}")
        noise = metric.noise if search.noise == -1 else search.noise
        return replace(search, objectives=search.objectives or (metric.name, "latency_ms", "size_bytes"), noise=noise)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, as YAML and JSON hold them."""
        content = asdict(self)
        content["search"]["objectives"] = list(self.search.objectives)
        content["formats"] = list(self.formats)
        content["more_devices"] = list(content["more_devices"])
        return content

    @classmethod
    def from_dict(cls, content: Any, origin: str) -> "Experiment":
        """Check plain values and build the experiment.

        Args:
            content: What a YAML file holds.
            origin: Its name, for messages.

        Raises:
            InvalidInput: If a key is unknown, a type is wrong or a value is out of range.
        """
        experiment = build(cls, renamed_experiment(content, origin), origin)
        assert isinstance(experiment, cls)
        return experiment

    @classmethod
    def from_yaml(cls, path: Path, overrides: Sequence[str] = ()) -> "Experiment":
        """Read a YAML file.

        Args:
            path: The file.
            overrides: `key=value` with dots between levels, such as `training.float_epochs=2`.

        Raises:
            InvalidInput: If the file is missing or not YAML, or its content is wrong.
        """
        content = read_yaml(path, "experiment")
        for change in overrides:
            override(content, change)
        return cls.from_dict(content, str(path))


def _check_range(name: str, value: float, lower: float, upper: float) -> None:
    if not lower <= value <= upper:
        raise InvalidInput(f"{name} must be in {lower:g}..{upper:g}, got {value:g}")
