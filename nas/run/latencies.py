"""Measured latencies of whole networks on one device of a run: timed once, kept in the archive."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from latency_tables.remote.bundle import is_csv, measured_device, measured_names
from latency_tables.table.table import LatencyTable
from latency_tables.timing.measurement import Measurement
from nas.archive.archive import Archive
from nas.objectives.columns import Column
from nas.run.tables import DeviceTable, request_remote
from search_spaces.costs import FactorTable
from search_spaces.errors import InvalidInputError
from search_spaces.space.space import Genomes
from search_spaces.space.subnet import Subnet

STORED = ("latency_ms", "latency_spread")  # names of what the archive keeps, of every phase


class Latencies:
    """Predicted by the table of a device, and measured on it.

    Args:
        table: The table of the device.
        open_archive: From name of a study, names of its values and identity to an archive.
        drop_archive: Drops the study of a name, if it is there.
        column: Of the latency; that of a further device of the run names it.
    """

    def __init__(
        self,
        table: DeviceTable,
        open_archive: Callable[[str, tuple[str, ...], Mapping[str, str]], Archive],
        drop_archive: Callable[[str], None],
        column: Column,
    ) -> None:
        self.table = table
        self.column = column
        self._open_archive, self._drop_archive = open_archive, drop_archive

    @property
    def name(self) -> str:
        """Name of the latency as an objective."""
        return self.column.name

    def predicted(self) -> FactorTable:
        """Return the table of predictions.

        Raises:
            NotReadyError: If there is none.
            InvalidInputError: If it is not of this device or this space.
        """
        return self.table.read().factor_table(self.table.space)

    def measure(self, *, again: bool) -> LatencyTable:
        """Measure the table here, or read the one that is there, see `DeviceTable.measure`."""
        is_new = again or not self.table.path.exists()
        table = self.table.measure(again=again)
        if is_new:
            self._forget()
        return table

    def take(self, file: Path, *, again: bool) -> LatencyTable:
        """Make the table of what a benchmark bundle has measured, see `DeviceTable.take`."""
        table = self.table.take(file, again=again)
        self._forget()
        return table

    def time(self, genomes: Genomes, heading: Mapping[str, Any]) -> dict[Column, np.ndarray]:
        """Return measured latency and spread of networks by column; what was not timed yet is timed here and kept.

        Args:
            genomes: Shape `(n, n_genes)`.
            heading: What an interrupted timing must agree with to be gone on from.
        """
        if due := self._due(genomes):
            found = self.table.time_here(self._subnets(due), self.table.read(), dict(heading))
            self._keep(due, list(found.values()))
        return self.known(genomes)

    def known(self, genomes: Genomes) -> dict[Column, np.ndarray]:
        """Return measured latency and spread of networks by column, as `time` does, but NaN where none was measured."""
        found = [values or dict.fromkeys(STORED, np.nan) for values in self._archive.lookup(genomes)]
        columns = (self.column, self.column.spread)
        return {column: np.array([row[name] for row in found]) for name, column in zip(STORED, columns, strict=True)}

    def due(self, genomes: Genomes) -> dict[str, Subnet]:
        """Return those of the networks that were not timed yet, by id."""
        return self._subnets(self._due(genomes))

    def due_in(self, genomes: Genomes, file: Path) -> list[Genomes]:
        """Return those of the networks that were not timed yet and that a result names, in order."""
        names, space = measured_names(file), self.table.space
        return [genome for genome in self._due(genomes) if space.subnet(genome).id in names]

    def are_in(self, genomes: Genomes, file: Path) -> bool:
        """Return whether a result is of just those of the networks that it names and that were not timed yet."""
        return self.table.are_in(self._subnets(self.due_in(genomes, file)), file)

    def take_networks(self, genomes: Genomes, file: Path) -> LatencyTable:
        """Take the times of networks that a benchmark bundle has measured, and return the table.

        Args:
            genomes: Networks that may be in it, shape `(n, n_genes)`.
            file: The result.

        Raises:
            InvalidInputError: If the file is no such result, or holds none of the networks.
        """
        table = self.table.read()
        chosen = self.due_in(genomes, file)
        if not chosen:
            raise InvalidInputError(
                f"'{file}' holds no network that is to be timed on '{self.table.device.name}', whose table is here "
                "already; if it is a new table, --again puts it in its place"
            )
        measurements = self.table.take_networks(self._subnets(chosen), table, file)
        self._keep(chosen, list(measurements.values()))
        return table

    @cached_property
    def _archive(self) -> Archive:
        fingerprint = json.dumps(dict(self.table.read().fingerprint), sort_keys=True)
        return self._open_archive(self._study, STORED, {"device": fingerprint})

    @property
    def _study(self) -> str:
        return f"latency {self.table.name}"

    def _forget(self) -> None:
        """Drop what was timed of networks: it is in the units of a table that is no more."""
        self._drop_archive(self._study)
        vars(self).pop("_archive", None)

    def _due(self, genomes: Genomes) -> list[Genomes]:
        return [genome for genome, values in zip(genomes, self._archive.lookup(genomes), strict=True) if values is None]

    def _subnets(self, genomes: Iterable[Genomes]) -> dict[str, Subnet]:
        return {subnet.id: subnet for subnet in map(self.table.space.subnet, genomes)}

    def _keep(self, genomes: list[Genomes], found: list[Measurement]) -> None:
        values = {"latency_ms": np.array([m.ms for m in found]), "latency_spread": np.array([m.spread for m in found])}
        self._archive.add(np.array(genomes), values)


def time_all(among: Sequence[Latencies], genomes: Genomes, heading: Mapping[str, Any]) -> dict[Column, np.ndarray]:
    """Return measured latencies and spreads of networks on all devices of a run by column, see `Latencies.time`.

    Raises:
        NotReadyError: If a device is remote and networks must be timed there; says how.
    """
    for _, group in groupby(among, key=lambda each: each.table.device):
        due = [(each.table, networks) for each in group if (networks := each.due(genomes))]
        if due and due[0][0].device.remote:
            request_remote(due)
    columns: dict[Column, np.ndarray] = {}
    for latencies in among:
        columns |= latencies.time(genomes, heading)
    return columns


def import_results(
    among: Sequence[Latencies],
    file: Path,
    *,
    owner: str,
    again: bool,
    measured: Callable[[], Genomes],
) -> list[LatencyTable]:
    """Take what a benchmark bundle has measured: tables that are missing, otherwise networks near the front.

    Args:
        among: All devices of a run.
        file: The result; of several remote devices it is of the one that it names, or of the first that lacks it.
        owner: What the run is called, for messages.
        again: It holds tables, and takes the place of those that are there.
        measured: Gives the networks whose error was measured, shape `(n, n_genes)`.

    Returns:
        The tables that it holds, or of the networks that it holds: of one device, one for each phase.

    Raises:
        InvalidInputError: If no device is remote, the file is no such result, or it does not say whose table it replaces.
    """
    remote = [each for each in among if each.table.device.remote]
    if not remote:
        raise InvalidInputError(f"'{owner}' has no remote device: `hwnas measure` measures here")
    named = measured_device(file)
    devices = [each for each in remote if each.table.device.name == named] or remote
    if missing := [each for each in devices if again or not each.table.is_readable]:
        if again and len({each.table.device.name for each in missing}) > 1:
            raise InvalidInputError(
                f"'{file}' does not say whose table it is; move away the one that it replaces, without --again"
            )
        held = [each for each in missing if each.table.is_in(file)] if len(missing) > 1 else []
        of_it = _of_one_result(held or missing[:1], file)
        return [each.take(file, again=again) for each in of_it]  # which refuses what is not its own
    genomes = measured()
    due = [each for each in devices if each.due_in(genomes, file)]
    held = [each for each in due if each.are_in(genomes, file)] if len(due) > 1 else []
    return [each.take_networks(genomes, file) for each in _of_one_result(held or due[:1] or devices[:1], file)]


def _of_one_result(among: Sequence[Latencies], file: Path) -> list[Latencies]:
    """Return those of the first one's device; of a CSV file, which is of one plan, the first alone."""
    if is_csv(file):
        return list(among[:1])
    return [each for each in among if each.table.device.name == among[0].table.device.name]
