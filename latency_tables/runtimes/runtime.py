"""The interface of a runtime: build a model once, then run it n times and say how long each run took."""

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from search_spaces.errors import NotReadyError
from search_spaces.registry import Registry

Runner = Callable[[int], NDArray[np.float64]]
"""`run(n)` runs the model n times and returns the seconds of each run, shape `(n,)`."""


class Runtime(Protocol):
    """A runtime. A new one is a file with a class of these methods, registered under its name.

    Its module imports the runtime only when it is used, so that every runtime can be listed everywhere.

    Attributes:
        integer_kernels: Operators that compute on 8-bit integers there; the others run in float32 between conversions, so
            that an integer format gives a smaller file but no time.
        process: Id of the process that computes, 0 for this one.

    One that has the operators of onnxruntime's own, which language models are made of, says so by `has_contrib = True`.
    """

    integer_kernels: tuple[str, ...]

    @property
    def process(self) -> int:
        """Id of the process that computes, 0 for this one."""

    def version(self) -> str:
        """Return the version of the runtime; part of a device's fingerprint.

        Raises:
            InvalidInputError: If the runtime is not installed; says how to install it.
        """

    def build(self, model: bytes, *, threads: int, options: Mapping[str, str]) -> Runner:
        """Load a model with random inputs and everything allocated, ready to be timed.

        Args:
            model: Serialized ONNX with fixed shapes.
            threads: Threads that compute it.
            options: Settings of the runtime, by name.

        Raises:
            InvalidInputError: If the runtime is not installed or refuses an option.
        """

    def outputs(self, model: bytes, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run a model with one input and one output once and return what it gives."""


RUNTIMES: Registry[Runtime] = Registry("runtime")


def has_contrib(name: str) -> bool:
    """Return True if a runtime has onnxruntime's own operators: attention with a cache, weights in groups."""
    return bool(getattr(RUNTIMES.get(name), "has_contrib", False))


def timed(call: Callable[..., object], *arguments: object) -> Runner:
    """Return the runner that calls a runtime in this process, with the clock read once between two calls."""

    def run(n: int) -> NDArray[np.float64]:
        moments = np.empty(n + 1)
        moments[0] = perf_counter()
        for i in range(1, n + 1):
            call(*arguments)
            moments[i] = perf_counter()
        return np.diff(moments)

    return run


def feed(shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
    """Return a random input, or zeros where it holds whole numbers, which may be indices."""
    if np.issubdtype(dtype, np.integer):
        return np.zeros(shape, dtype)
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def missing(runtime: str, way_out: str) -> NotReadyError:
    """Return the error for a runtime that is not installed."""
    return NotReadyError(f"{runtime} is not installed; {way_out}")
