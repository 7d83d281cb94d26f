"""Latency tables outside a run: in the user's data folder or where `--tables` says, and kits for devices elsewhere."""

from dataclasses import dataclass
from pathlib import Path

import platformdirs

from latency_tables.backends import BACKENDS
from latency_tables.build import Plan
from latency_tables.device import Device
from latency_tables.kit import pack_kit, read_result
from latency_tables.table import LatencyTable
from nas.config import DeviceConfig, TableConfig
from nas.pipeline import device_of, measure_table, plan_of, protocol_of
from nas.run_folder import read_table, write_table
from search_spaces import SPACES, InvalidInput, SearchSpace


def tables_folder(folder: str | None = None) -> Path:
    """Return the folder of tables; it need not exist."""
    return Path(folder) if folder else Path(platformdirs.user_data_dir("hwnas")) / "tables"


def read_device(text: str | None) -> Device:
    """Return the device of a YAML file, the default one of a runtime that is named, or the default device (None)."""
    if text is not None and text in BACKENDS and not Path(text).exists():
        return Device(backend=text)
    return device_of(DeviceConfig.from_yaml(Path(text)) if text is not None else DeviceConfig())


@dataclass(frozen=True)
class TableOfSpace:
    """The table of a registered space, with its own image shape, on a device.

    Attributes:
        space: The space.
        device: The device.
        config: How it is measured.
        path: Where the table lies.
    """

    space: SearchSpace
    device: Device
    config: TableConfig
    path: Path

    @classmethod
    def find(cls, space: str, device: Device, config: TableConfig, folder: str | None) -> "TableOfSpace":
        """Return the one of a space's name in a folder of tables; None is the user's data folder."""
        built = SPACES.get(space)()
        return cls(built, device, config, tables_folder(folder) / built.name / f"{device.name}.json")

    def plan(self) -> Plan:
        """Return what is measured."""
        return plan_of(self.space, self.config, seed=0)

    def measure(self, *, again: bool = False) -> LatencyTable:
        """Measure the table here, or read the one that is there.

        Args:
            again: Measure even if there is a table.
        """
        if self.path.exists() and not again:
            table = read_table(self.path)
            table.check_device(self.device.fingerprint())
            table.factor_table(self.space)
            return table
        return measure_table(self.plan(), self.device, self.config, self.path)


def pack(plan: Plan, device: Device, config: TableConfig, file: str) -> None:
    """Write a kit that measures a plan on a device elsewhere."""
    pack_kit(plan, device, protocol_of(config), Path(file))


def take_result(plan: Plan, device: Device, file: str, path: Path) -> LatencyTable:
    """Make a table of what a kit has measured elsewhere, and write it."""
    if path.exists():
        raise InvalidInput(f"'{path}' holds a table of this device; move it away, or give the device another label")
    table = read_result(Path(file), plan, device)
    write_table(table, path)
    return table
