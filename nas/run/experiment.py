"""Experiment: everything a run depends on, composed of the settings of its parts, read from YAML.

The text under each field is its help.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from latency_tables.analytical import Accelerator
from latency_tables.device import Device
from latency_tables.table.plan import TableSettings
from nas.data.load import DataSettings
from nas.events.renamed import renamed_experiment, renamed_keys
from nas.objectives.columns import Column, latency_column
from nas.objectives.objective import OBJECTIVES
from nas.ptq.settings import AdoptSettings
from nas.run.yaml import build, override, read_yaml
from nas.search.rounds import SpecialiseSettings
from nas.search.settings import SearchSettings
from nas.tasks import METRICS, TASKS, Metric, metric_of, phases_of
from nas.tasks.divergence import DIVERGENCE
from nas.training.schedule import Schedule
from search_spaces.errors import InvalidInputError, check_range
from search_spaces.plugins import absolute, load_entry_points, load_plugin


def default_devices() -> dict[str, Device]:
    """Return the devices of an experiment that names none: this machine's onnxruntime with one thread."""
    return {Device().name: Device(label=Device().name)}


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Everything a run depends on."""

    name: str
    """Names the run."""
    seed: int = 0
    """Of everything random."""
    threads: int = 2
    """Threads for training and evaluation; another number adds up in another order and gives other weights."""
    plugins: tuple[str, ...] = ()
    """Python files, or modules, that register what is your own: spaces, data sets, tasks, objectives, strategies."""
    task: str = "classification"
    """What networks are for: classification, regression, segmentation, super_resolution or language."""
    space: str = "mobilenet-digits"
    """Search space; `hwnas spaces` lists them. One of your own: FILE.py:NAME."""
    formats: tuple[str, ...] = ()
    """Number formats to choose from instead of those of the space, as `[float32, w8a8, w3a4]`; see docs/formats.md."""
    pretrained: str = ""
    """A LLaMA-like model that is trained already, a .gguf file or a folder with config.json: its networks are searched as
    they are, and `space` and `training` do not count; see `hwnas adopt`."""
    left_out: tuple[int, ...] = ()
    """Layers of `pretrained`, from 1, in the order in which smaller networks leave them out; none: the last but one first.
    `hwnas adopt` writes those first that change least of what goes through them."""
    accelerator: dict[str, str | float] = field(default_factory=dict)
    """An accelerator whose latency and energy are estimated: the keys of experiments/devices/bitserial.yaml."""
    adopt: AdoptSettings = field(default_factory=AdoptSettings)
    """Of a model that you have trained already, see `hwnas adopt`; without one, networks are trained."""
    data: DataSettings = field(default_factory=DataSettings)
    training: Schedule = field(default_factory=Schedule)
    archive: str = ""
    """URL of a database for measured networks, as postgresql://user@host/name; empty: SQLite in the run folder."""
    devices: dict[str, Device] = field(default_factory=default_devices)
    """Devices by name, each with a table of its own; the latencies of all but the first are called latency_ms@NAME. `{}`: no
    latency is measured."""
    table: TableSettings = field(default_factory=TableSettings)
    search: SearchSettings = field(default_factory=SearchSettings)
    specialise: SpecialiseSettings = field(default_factory=SpecialiseSettings)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\w[\w.-]{0,99}", self.name):
            raise InvalidInputError(
                f"name must be up to 100 letters, digits, '.', '_' or '-', no '.' first; got '{self.name[:120]}'"
            )
        check_range("seed", self.seed, 0, 2**32 - 1)
        check_range("threads", self.threads, 1, 1024)
        load_entry_points()
        for plugin in self.plugins:
            load_plugin(plugin)
        if self.accelerator:
            Accelerator.from_dict(self.accelerator, "accelerator")
        if (self.adopt.is_set or self.pretrained) and self.specialise.rounds:
            raise InvalidInputError("specialise: the weights of a model that was trained elsewhere stay as they are")
        if self._offered_phases and (name := next((n for n, device in self.devices.items() if device.batch > 1), "")):
            raise InvalidInputError(
                f"devices.{name}.batch must be 1: networks of task '{self.task}' take one sample a call, "
                f"got {self.devices[name].batch}"
            )
        object.__setattr__(self, "search", self._resolved_search())

    def _resolved_search(self) -> SearchSettings:
        """Return the search with what depends on task and devices, after a check of the names in it."""
        search, metric = self.search, self.metric
        latencies = [column.name for i in range(len(self.devices)) for column in self._columns(i, self._offered_phases)]
        objectives = search.objectives or (metric.name, *(name for name in latencies if "@" not in name), "size_bytes")
        estimated = [name for name, quantity in METRICS.items() if quantity.is_estimated]
        costs = [*latencies, *OBJECTIVES.names, *estimated]
        limited = costs if self.adopt.is_set else [metric.name, *costs]  # there adopt.floor limits what is lost
        for key, names, known in (
            ("objectives must be among", objectives, [metric.name, *costs]),
            ("max limits any of", search.max, limited),
            ("min limits any of", search.min, limited),
        ):
            if unknown := [name for name in names if name not in known]:
                raise InvalidInputError(f"search.{key} {known}, got {unknown}{self._hint(unknown)}")
        if metric.name not in objectives and metric.name in {*search.max, *search.min}:
            raise InvalidInputError(f"search limits {metric.name}, which must then be among search.objectives")
        wanted = [name for name in estimated if name in {*objectives, *search.max, *search.min}]
        if wanted and not self.accelerator:
            raise InvalidInputError(
                f"search names {wanted}, which an accelerator gives, but the experiment has no `accelerator`"
            )
        if search.order != "auto" and not metric.loss:
            raise InvalidInputError(f"search.order: the {metric.title} has no loss beside it; leave `order` out")
        noise = metric.noise if search.noise == -1 else search.noise
        return replace(search, objectives=objectives, noise=noise)

    def _hint(self, unknown: Sequence[str]) -> str:
        if any(metric_of(Column.from_name(name).metric).is_latency for name in unknown):
            return f"; the devices are {list(self.devices)}"
        return ""

    @property
    def metric(self) -> Metric:
        """What is measured of networks and steers the search."""
        return DIVERGENCE if self.adopt.is_set else TASKS.get(self.task).metric

    @property
    def plugin_files(self) -> list[str]:
        """Everything of a user's own that was loaded: plug-ins, and files that hold space, task or data."""
        search = self.search
        parts = (search.strategy, self.training.sampler, self.specialise.sampler)
        names = [self.space, self.task, self.data.name, *search.signals]
        names += [name for part in parts for name in (part.name, *part.texts)]
        return list(dict.fromkeys([*self.plugins, *(f"{n.partition('.py:')[0]}.py" for n in names if ".py:" in n)]))

    def with_absolute_paths(self) -> "Experiment":
        """Return the experiment with absolute paths of everything that is a user's own."""
        search = self.search
        return replace(
            self,
            plugins=tuple(map(absolute, self.plugins)),
            space=absolute(self.space),
            task=absolute(self.task),
            data=replace(self.data, name=absolute(self.data.name)),
            pretrained=self.pretrained and str(Path(self.pretrained).expanduser().resolve()),
            training=replace(self.training, sampler=self.training.sampler.with_names(absolute)),
            specialise=replace(self.specialise, sampler=self.specialise.sampler.with_names(absolute)),
            search=replace(
                search,
                strategy=search.strategy.with_names(absolute),
                signals=tuple(map(absolute, search.signals)),
                prior=search.prior and str(Path(search.prior).expanduser().resolve()),
            ),
        )

    @property
    def phases(self) -> tuple[str, ...]:
        """The phases in which networks are timed: those that objectives and limits name, or all if they name none.

        None where networks are run in one way.
        """
        offered, search = self._offered_phases, self.search
        named = {*search.objectives, *search.max, *search.min}
        timed = {p for p in offered for i in range(len(self.devices)) if self._columns(i, (p,))[0].name in named}
        return tuple(phase for phase in offered if phase in timed) or offered

    @property
    def _offered_phases(self) -> tuple[str, ...]:
        return () if self.adopt.is_set else phases_of(TASKS.get(self.task))

    def latencies_of(self, i: int) -> tuple[Column, ...]:
        """Return the columns of the latencies on the i-th device, one for each phase; the first one's have no suffix."""
        return self._columns(i, self.phases)

    def _columns(self, i: int, phases: Sequence[str]) -> tuple[Column, ...]:
        device = list(self.devices)[i] if i else ""
        return tuple(latency_column(phase, device) for phase in phases or ("",))

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, as YAML and JSON hold them."""
        content = asdict(self)
        for key in ("objectives", "signals"):
            content["search"][key] = list(content["search"][key])
        content["formats"], content["plugins"] = list(self.formats), list(self.plugins)
        for device in content["devices"].values():
            del device["label"]  # its key
        return content

    @classmethod
    def from_dict(cls, content: Any, origin: str) -> "Experiment":
        """Check plain values and build the experiment.

        Args:
            content: What a YAML file holds.
            origin: Its name, for messages.

        Raises:
            InvalidInputError: If a key is unknown, a type is wrong or a value is out of range.
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
            InvalidInputError: If the file is missing or not YAML, or its content is wrong.
        """
        content = read_yaml(path, "experiment")
        for change in overrides:
            override(content, change)
        devices = content.get("devices") if isinstance(content, Mapping) else None
        if dotted := [name for name in (devices if isinstance(devices, Mapping) else ()) if "." in str(name)]:
            raise InvalidInputError(f"'{path}': names of devices have no dots, by which --set tells levels; got {dotted}")
        return cls.from_dict(content, str(path))


def device_from_yaml(path: Path) -> Device:
    """Read a device from a YAML file of its own.

    Raises:
        InvalidInputError: If the file is missing or not YAML, or its content is wrong.
    """
    device = build(Device, renamed_keys("device", read_yaml(path, "device"), str(path)), str(path))
    assert isinstance(device, Device)
    return device
