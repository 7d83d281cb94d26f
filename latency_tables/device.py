"""Device: what a network will run on, and the fingerprint by which a table is recognised as belonging to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from latency_tables.backends import BACKENDS
from latency_tables.machine import cpu_model, has_vnni
from search_spaces.errors import InvalidInput


@dataclass(frozen=True, kw_only=True)
class Device:
    """A runtime with its settings on a machine.

    Attributes:
        backend: Name of a registered backend.
        threads: Threads that compute one network.
        options: Further settings of the backend, by name.

    Raises:
        InvalidInput: If `threads` is below 1 or the backend is unknown.
    """

    backend: str = "onnxruntime"
    threads: int = 1
    options: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        BACKENDS.get(self.backend)
        if self.threads < 1:
            raise InvalidInput(f"threads must be 1 or more, got {self.threads}")

    @property
    def name(self) -> str:
        """Short name that goes into file names: `onnxruntime-1t`."""
        return f"{self.backend}-{self.threads}t"

    def fingerprint(self) -> dict[str, Any]:
        """Return everything that must agree for a table to hold: machine, runtime and settings."""
        return {
            "cpu": cpu_model(),
            "vnni": has_vnni(),
            "backend": self.backend,
            "version": BACKENDS.get(self.backend).version(),
            "threads": self.threads,
            "batch": 1,
            "options": dict(self.options),
        }
