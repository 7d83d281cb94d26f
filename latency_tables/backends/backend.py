"""The interface of a backend: build a model once, then run it n times and say how long each run took."""

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import onnx
from numpy.typing import NDArray

from search_spaces.registry import Registry

Runner = Callable[[int], NDArray[np.float64]]
"""`run(n)` runs the model n times, one image each, and returns the seconds of each run, shape `(n,)`."""


class Backend(Protocol):
    """A runtime. A new one is a class with these methods, registered under its name."""

    def version(self) -> str:
        """Return the version of the runtime; part of a device's fingerprint."""

    def build(self, model: onnx.ModelProto, *, threads: int, options: Mapping[str, str]) -> Runner:
        """Load a model with random input and everything allocated, ready to be timed."""


BACKENDS: Registry[Backend] = Registry("latency backend")
