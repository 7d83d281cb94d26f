"""Device: what a network will run on, and the fingerprint by which a table is recognised as belonging to it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from latency_tables.runtimes import RUNTIMES
from latency_tables.runtimes.machine import cpu_model, has_vnni
from search_spaces.errors import InvalidInput


@dataclass(frozen=True, kw_only=True)
class Device:
    """A runtime with its settings on a machine.

    Attributes:
        label: Name that goes into file names; empty: made of the settings, such as `onnxruntime-1t`.
        backend: Name of a registered backend.
        threads: Threads that compute one network.
        batch: Images that a network takes at once; times are of the whole batch.
        options: Further settings of the backend, by name.

    Raises:
        InvalidInput: If a number is below 1, the backend is unknown or the label is no file name.
    """

    label: str = ""
    backend: str = "onnxruntime"
    threads: int = 1
    batch: int = 1
    options: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        RUNTIMES.get(self.backend)
        if self.threads < 1:
            raise InvalidInput(f"threads must be 1 or more, got {self.threads}")
        if self.batch < 1:
            raise InvalidInput(f"batch must be 1 or more, got {self.batch}")
        if self.label and not re.fullmatch(r"\w[\w.-]{0,63}", self.label):
            raise InvalidInput(
                f"a device's label must be up to 64 letters, digits, '.', '_' or '-', no '.' first; got '{self.label}'"
            )

    @property
    def name(self) -> str:
        """Short name that goes into file names: the label, or `onnxruntime-1t`, `onnxruntime-1t-b8` for batches of 8."""
        batch = f"-b{self.batch}" if self.batch > 1 else ""
        return self.label or f"{self.backend}-{self.threads}t{batch}"

    def fingerprint(self) -> dict[str, Any]:
        """Return everything that must agree for a table to hold: machine, runtime and settings."""
        return {
            "cpu": cpu_model(),
            "vnni": has_vnni(),
            "backend": self.backend,
            "version": RUNTIMES.get(self.backend).version(),
            "threads": self.threads,
            "batch": self.batch,
            "options": dict(self.options),
        }
