"""Energy as the processor counts it, by the Linux kernel's power capping framework (RAPL); nothing is estimated."""

from collections.abc import Callable
from pathlib import Path

from search_spaces.errors import MeasurementError

POWERCAP = Path("/sys/class/powercap")


class EnergyMeter:
    """Reads the counters of all processor packages.

    Args:
        root: Folder of the framework; None: `POWERCAP`.

    Raises:
        MeasurementError: If there is no counter, or it cannot be read.
    """

    def __init__(self, root: Path | None = None) -> None:
        root = root or POWERCAP
        try:
            names = {zone: (zone / "name").read_text() for zone in sorted(root.glob("intel-rapl:*"))}
            self._zones = [zone for zone, name in names.items() if name.startswith("package")]
            self._ranges = [int((zone / "max_energy_range_uj").read_text()) for zone in self._zones]
            self._read()
        except (OSError, ValueError) as error:
            raise MeasurementError(f"energy cannot be measured here: {error}; the counters need to be readable") from error
        if not self._zones:
            raise MeasurementError(f"energy cannot be measured here: this machine has no counters below '{root}'")

    def millijoules(self, work: Callable[[], object]) -> float:
        """Return the millijoules that the whole processor took while something ran, with what it takes when idle."""
        before = self._read()
        work()
        used = [(b - a) % size for a, b, size in zip(before, self._read(), self._ranges, strict=True)]  # counters wrap
        return sum(used) / 1000

    def _read(self) -> list[int]:
        return [int((zone / "energy_uj").read_text()) for zone in self._zones]
