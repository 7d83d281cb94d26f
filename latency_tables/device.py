"""Device: what a network will run on, and the fingerprint by which a table is recognised as belonging to it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from latency_tables.runtimes import RUNTIMES
from latency_tables.runtimes.machine import cpu_model, has_vnni
from search_spaces.errors import InvalidInputError, check_range


@dataclass(frozen=True, kw_only=True)
class Device:
    """A runtime with its settings on a machine; the text under each field is its help.

    Raises:
        InvalidInputError: If a number is out of range, the backend is unknown or the label is no file name.
    """

    label: str = ""
    """Name that goes into file names; empty: made of the settings, such as `onnxruntime-1t`. In an experiment: the key."""
    remote: bool = False
    """The device is not this machine: benchmark bundles measure there, see docs/own-device.md; needs a label."""
    backend: str = "onnxruntime"
    """Runtime; `hwnas devices` lists them."""
    threads: int = 1
    """Threads that compute one network."""
    batch: int = 1
    """Samples that a network takes at once; times are of the whole batch."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Further settings of the runtime."""

    def __post_init__(self) -> None:
        RUNTIMES.get(self.backend)
        if self.remote and not self.label:
            raise InvalidInputError("a remote device needs a label, as `label: raspberry-pi-5`")
        check_range("threads", self.threads, 1, 1024)
        check_range("batch", self.batch, 1, 65_536)
        if self.label and not re.fullmatch(r"\w[\w.-]{0,63}", self.label):
            raise InvalidInputError(
                f"a device's label must be up to 64 letters, digits, '.', '_' or '-', no '.' first; got '{self.label}'"
            )

    @property
    def name(self) -> str:
        """Short name that goes into file names: the label, or `onnxruntime-1t`, `onnxruntime-1t-b8` for batches of 8."""
        return self.label or default_name(self.backend, self.threads, self.batch)

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


def default_name(backend: object, threads: object, batch: object) -> str:
    """Return the name of a device that has no label."""
    return f"{backend}-{threads}t{'' if batch == 1 else f'-b{batch}'}"
