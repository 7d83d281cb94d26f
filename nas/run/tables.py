"""The latency table of a space on a device, in a run or in a folder of tables: measured here or by benchmark bundles."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from latency_tables.device import Device
from latency_tables.remote.bundle import FOREIGN, Result, holds, read_results, write_bundle
from latency_tables.runtimes import RUNTIMES
from latency_tables.runtimes.runtime import has_contrib
from latency_tables.table.build import assemble, build_table
from latency_tables.table.measure import measure_graphs, measure_model
from latency_tables.table.plan import Plan, TableSettings, plan_table, reference_graph
from latency_tables.table.table import LatencyTable
from latency_tables.timing.measurement import Measurement
from latency_tables.timing.protocol import Protocol
from nas.events.files import write_atomically
from nas.events.progress import progress_bar
from nas.objectives.table_files import read_table, write_table
from nas.report.plots import table_plot
from nas.report.table import validation_summary
from nas.run.experiment import device_from_yaml
from search_spaces import SPACES, InvalidInputError, SearchSpace
from search_spaces.errors import HwnasError, NotReadyError
from search_spaces.precision.scheme import QuantScheme
from search_spaces.space.baselines import formats
from search_spaces.space.subnet import Subnet

logger = logging.getLogger(__name__)

FAR = 50.0  # times of unknown origin that are so many times what this machine takes may be in another unit


@dataclass(frozen=True)
class DeviceTable:
    """The table of a space on a device.

    Attributes:
        space: The space.
        device: The device.
        settings: How it is measured.
        path: File of the table.
        seed: Draws the whole networks.
        owner: What a command names to mean this table: a run folder, or `--space NAME`; for messages.
        command: The command that times networks of a run, for messages.
        phase: In which networks are timed, where they have such; the space is the reading of that phase.
    """

    space: SearchSpace
    device: Device
    settings: TableSettings
    path: Path
    seed: int
    owner: str
    command: str = ""
    phase: str = ""

    @property
    def name(self) -> str:
        """What it is called: the device, and the phase if there is one."""
        return self.path.stem

    def plan(self) -> Plan:
        """Return what is measured for the table.

        Raises:
            InvalidInputError: If the space offers a format that no runtime has kernels for.
        """
        if refused := [name for name in formats(self.space.origin) if QuantScheme.from_name(name).is_minifloat]:
            names = ", ".join(refused)
            raise InvalidInputError(
                f"no runtime has kernels for {names}: leave them out of `formats`, or only train with them"
            )
        if self.phase and not has_contrib(self.device.backend):
            raise InvalidInputError(
                f"{self.device.backend} lacks operators of language models, as GroupQueryAttention; use onnxruntime"
            )
        settings, rng = self.settings, np.random.default_rng(self.seed)
        return plan_table(self.space.origin, n_fit=settings.n_fit, n_held_out=settings.n_held_out, rng=rng)

    def read(self) -> LatencyTable:
        """Return the table that is there.

        Raises:
            NotReadyError: If there is none.
            InvalidInputError: If it is not of this device as it is now, or not of this space.
        """
        if not self.path.exists():
            raise NotReadyError(f"'{self.owner}' has no latency table; make it with `hwnas measure {self.owner}`")
        table = read_table(self.path)
        if not self.device.remote:
            table.check_device(self.device.fingerprint())
        table.factor_table(self.space)
        whole = self.space.origin
        if table.space_digest not in ("", whole.digest):
            raise InvalidInputError(f"'{self.path}' was measured for other blocks of space '{table.space}'; {self._way_out}")
        if not table.space_digest:  # of a version that knew names alone
            table = replace(table, space_digest=whole.digest)
            with suppress(OSError):  # a folder that cannot be written can be read
                write_table(table, self.path)
        return table

    def measure(self, *, again: bool = False) -> LatencyTable:
        """Measure the table here, going on from the journal beside it; or read the one that is there.

        Args:
            again: Measure even if there is a table.

        Raises:
            NotReadyError: If there is none and the device is remote.
        """
        if self.path.exists() and not again:
            return self.read()
        if self.device.remote:
            raise NotReadyError(
                f"the device '{self.device.name}' is remote: make a benchmark bundle with `hwnas measure "
                f"{self.owner} --pack bundle.zip`"
                f", run it there, and bring its result back with `hwnas measure {self.owner} --from result.json`"
            )
        journal = self.path.with_suffix(".journal")
        with progress_bar(f"measuring {self.name}") as update:
            table = build_table(
                self.plan(),
                self.device,
                self.settings,
                name=self.name,
                journal=journal,
                time_budget_minutes=self.settings.time_budget_minutes or None,
                announce=_announce,
                progress=update,
            )
        self._keep(table)
        journal.unlink(missing_ok=True)
        return table

    def is_in(self, file: Path) -> bool:
        """Return whether a result of a benchmark bundle holds what this table is made of."""
        return holds(file, self.plan(), self.device)

    def are_in(self, networks: dict[str, Subnet], file: Path) -> bool:
        """Return whether a result of a benchmark bundle holds times of these networks."""
        return holds(file, self.plan_of(networks), self.device)

    def take(self, file: Path, *, again: bool = False) -> LatencyTable:
        """Make and keep the table of what a benchmark bundle has measured.

        Args:
            file: The result.
            again: Put it in the place of a table that is there; of one that cannot be read it takes the place anyway.

        Raises:
            InvalidInputError: If the file is no such result, or there is a table already.
        """
        if self.is_readable and not again:
            raise InvalidInputError(
                f"'{self.path}' holds a table of this device; --again replaces it, another label keeps both"
            )
        plan = self.plan()
        result = read_results(file, plan, self.device)
        self._doubt_units(result, plan)
        table = assemble(plan, result.timings, self.name, result.fingerprint, result.minutes)
        self._keep(table)
        return table

    def time_here(self, networks: dict[str, Subnet], table: LatencyTable, heading: dict[str, Any]) -> dict[str, Measurement]:
        """Time whole networks on this machine, in the table's units of time.

        Args:
            networks: By name.
            table: The table.
            heading: What a journal must agree with to be gone on from.
        """
        journal = self.path.with_name(f"{self.name}.networks.journal")
        with progress_bar(f"timing the front{f' ({self.phase})' if self.phase else ''}") as update:
            timings = measure_graphs(
                {name: subnet.graph for name, subnet in networks.items()},
                reference_graph(self.space.origin),
                self.device,
                self.settings,
                {**heading, "fingerprint": self.device.fingerprint()},
                reference_ms=table.reference_ms,
                journal=journal,
                progress=update,
            )
        journal.unlink(missing_ok=True)
        return timings.measurements

    @property
    def times_files(self) -> bool:
        """True if an exported file, which takes one sample a call, can be timed on this device now."""
        return not (self.device.remote or self.phase) and self.device.batch == 1

    def time_file(self, model: bytes) -> Measurement:
        """Time an exported file on this machine, in milliseconds of this moment."""
        return measure_model(model, self.device, self.settings)

    def take_networks(self, networks: dict[str, Subnet], table: LatencyTable, file: Path) -> dict[str, Measurement]:
        """Return what a benchmark bundle of whole networks has measured, in the table's units of time.

        Raises:
            InvalidInputError: If the file is no such result, or is of another machine or runtime than the table.
        """
        plan = self.plan_of(networks)
        result = read_results(file, plan, self.device)
        foreign = result.is_foreign or table.fingerprint.get("version") == FOREIGN
        theirs, mine = result.fingerprint, table.fingerprint
        compared = [key for key in theirs if key in mine and not (foreign and key == "version")]
        if differing := [f"{key} {theirs[key]}, of the table {mine[key]}" for key in compared if theirs[key] != mine[key]]:
            raise InvalidInputError(
                f"'{file}' was measured otherwise than the table ({'; '.join(differing)}): time both on one device with one "
                "runtime; a new table comes by --from FILE --again"
            )
        self._doubt_units(result, plan)
        # Times by other means are milliseconds as they were, of no reference.
        factor = 1.0 if foreign else table.reference_ms / result.timings.reference_ms
        found = result.timings.measurements
        return {name: replace(m, rounds=tuple(factor * ms for ms in m.rounds)) for name, m in found.items()}

    def plan_of(self, networks: dict[str, Subnet]) -> Plan:
        """Return what is measured of whole networks, by name."""
        return Plan(self.space.origin, {}, networks, 0)

    @property
    def _way_out(self) -> str:
        if self.device.remote:
            return f"make a new benchmark bundle with `hwnas measure {self.owner} --pack bundle.zip`"
        return f"measure it anew with `hwnas measure {self.owner} --again`"

    @property
    def is_readable(self) -> bool:
        """True if there is a table, and a whole one."""
        try:
            return self.path.exists() and bool(read_table(self.path))
        except HwnasError:
            return False

    def _doubt_units(self, result: Result, plan: Plan) -> None:
        """Say so if times of other means than a benchmark bundle are far from this machine's, as microseconds would be."""
        if not result.is_foreign:
            return
        name, subnet = next(iter(plan.networks.items()))
        quick = Protocol(rounds=2, seconds=0.002, retry_budget=0)
        mine = measure_graphs({name: subnet.graph}, plan.reference, Device(batch=self.device.batch), quick, {})
        here = mine.measurements[name].ms
        ratio = result.timings.measurements[name].ms / here
        if not 1 / FAR < ratio < FAR:
            unit = "microseconds" if ratio > 1 else "seconds"
            logger.warning(
                "'%s' takes %.2g times as long as on this machine: latency_ms holds milliseconds; were these %s?",
                name,
                ratio,
                unit,
            )

    def _keep(self, table: LatencyTable) -> None:
        """Write the table, and beside it the picture of its validation."""
        write_table(table, self.path)
        write_atomically(self.path.with_suffix(".png"), table_plot(table, validation_summary(table)).png)


def _announce(n_parts: int, n_networks: int, minutes: float) -> None:
    """Say what is about to be measured and how long that takes, before it begins."""
    text = "timing %d blocks and transitions and %d whole networks, about %.1f minutes"
    logger.info(text, n_parts, n_networks, minutes)


def pack(tables: Sequence[DeviceTable], file: Path) -> None:
    """Write the bundle that measures tables on the remote device that is theirs, one for each phase.

    Raises:
        InvalidInputError: If the file is there already.
    """
    if file.exists():
        raise InvalidInputError(f"'{file}' exists already; choose another file, or remove it first")
    write_bundle([table.plan() for table in tables], tables[0].device, tables[0].settings, file)


def request_remote(due: Sequence[tuple[DeviceTable, dict[str, Subnet]]]) -> None:
    """Write the bundle that times whole networks on a remote device, and raise `NotReadyError` that says what to do.

    Args:
        due: Tables of the device, one for each phase, and the networks that each of them lacks.
    """
    table = due[0][0]
    bundle = table.path.with_name(f"{table.device.name}.front.zip")
    write_bundle([each.plan_of(networks) for each, networks in due], table.device, table.settings, bundle)
    raise NotReadyError(
        f"{max(len(networks) for _, networks in due)} networks near the front must be timed on the device "
        f"'{table.device.name}', which is remote: run `python {bundle.name}` there (it is '{bundle}'), then `hwnas measure "
        f"{table.owner} --from result.json` and `{table.command}` again"
    )


def tables_folder(folder: str | None = None) -> Path:
    """Return the folder of tables outside runs; it need not exist."""
    return Path(folder) if folder else Path(platformdirs.user_data_dir("hwnas")) / "tables"


def named_device(device: str | None) -> Device:
    """Return what a user names: a YAML file of a device, or a runtime for its defaults; None is the default device."""
    if device is None:
        return Device()
    if device in RUNTIMES and not Path(device).exists():
        return Device(backend=device)
    if not Path(device).exists():
        raise InvalidInputError(f"there is no device file '{device}', and no runtime of that name: {', '.join(RUNTIMES)}")
    return device_from_yaml(Path(device))


def table_of_space(space: str, device: str | None, settings: TableSettings, folder: str | None) -> DeviceTable:
    """Return the table of a registered space, with its own input shape, outside a run.

    Args:
        space: Name of the space.
        device: YAML file of a device, or the name of a runtime for its defaults; None is the default device.
        settings: How it is measured.
        folder: Folder of tables; None is the user's data folder.
    """
    built = SPACES.get(space)()
    named = named_device(device)
    path = tables_folder(folder) / built.name / f"{named.name}.json"
    owner = f"--space {space}" + (f" --device {device}" if device else "") + (f" --tables {folder}" if folder else "")
    return DeviceTable(built, named, settings, path, 0, owner)
