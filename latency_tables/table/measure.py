"""Time graphs on a device of this machine."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from latency_tables.device import Device
from latency_tables.runtimes import RUNTIMES, Runner
from latency_tables.table.latency_model import empty_graph
from latency_tables.timing.energy import EnergyMeter
from latency_tables.timing.interference import monitoring
from latency_tables.timing.journal import Journal
from latency_tables.timing.measurement import Measurement
from latency_tables.timing.protocol import KnownTimings, Protocol, Timings, time_model, time_models
from search_spaces.graph.graph import Graph
from search_spaces.lowering import lower

Progress = Callable[[int, int], None]
KEPT_BYTES = 2**31


def measure_graphs(
    graphs: Mapping[str, Graph],
    reference: Graph,
    device: Device,
    protocol: Protocol,
    heading: Mapping[str, object],
    *,
    reference_ms: float | None = None,
    journal: Path | None = None,
    progress: Progress = lambda done, total: None,
) -> Timings:
    """Time graphs with random weights on a device.

    Args:
        graphs: By name.
        reference: Network to watch the machine by.
        device: Where.
        protocol: How.
        heading: What a journal must agree with to be gone on from.
        reference_ms: Time of the reference that all times are scaled to, such as a table's; None: as it is now.
        journal: File in which timings are kept while measuring.
        progress: Called with timings done and in all.
    """
    kept = Journal(journal, heading)
    known = {key: value for key, value in kept.known.items() if key[0] in graphs and key[1] < protocol.rounds}

    def keep(found: KnownTimings, done: int, total: int) -> None:
        kept.add(found)
        progress(done, total)

    kept_bytes = _KeptBytes()
    builders = {name: _builder(graph, device, kept_bytes) for name, graph in graphs.items()}
    process = RUNTIMES.get(device.backend).process
    with monitoring(_reference(reference, device), threads=device.threads, process=process) as monitor:
        return time_models(builders, monitor, protocol, reference_ms=reference_ms, known=known, on_timed=keep)


def measure_model(model: bytes, device: Device, protocol: Protocol) -> Measurement:
    """Time one ONNX file on a device, watched by a second instance of itself on one thread.

    Args:
        model: Serialized; an axis that is free becomes the batch of the device.
        device: Where.
        protocol: How.

    Raises:
        DecodeError: If the model is none.
    """
    model = _with_fixed_shapes(model, device.batch)
    reference = _build(model, replace(device, threads=1))
    with monitoring(reference, threads=device.threads, process=RUNTIMES.get(device.backend).process) as monitor:
        return time_models({"model": lambda: _build(model, device)}, monitor, protocol).measurements["model"]


def run_times(model: bytes, device: Device, seconds: float) -> NDArray[np.float64]:
    """Return the seconds of single runs of one ONNX file in one go, after a warm-up, shape `(n,)`.

    Args:
        model: As for `measure_model`.
        device: Where; its batch is what free axes become.
        seconds: About how long to run; at least 20 runs.
    """
    runner, n = _warm(model, device, seconds)
    found: NDArray[np.float64] = runner(n)
    return found


def run_energy(model: bytes, device: Device, seconds: float, meter: EnergyMeter) -> float:
    """Return the millijoules of the whole processor for one run of an ONNX file; arguments as for `run_times`."""
    runner, n = _warm(model, device, seconds)
    return meter.millijoules(lambda: runner(n)) / n


def _warm(model: bytes, device: Device, seconds: float) -> tuple[Runner, int]:
    """Return what runs a file, after a warm-up, and how many runs take about so many seconds; at least 20."""
    runner = _build(_with_fixed_shapes(model, device.batch), device)
    return runner, max(20, int(seconds / float(np.median(runner(10)))))


def seconds_per_model(reference: Graph, device: Device, protocol: Protocol) -> float:
    """Return about how many seconds one model takes in all rounds, by trying the reference: compiled once, timed thrice."""
    _builder(empty_graph(), device)()  # loads the runtime
    build = _builder(reference, device)
    started = time.perf_counter()
    build()
    first = time.perf_counter() - started
    process = RUNTIMES.get(device.backend).process
    with monitoring(_reference(reference, device), threads=device.threads, process=process) as monitor:
        started = time.perf_counter()
        for _ in range(3):
            time_model(build(), monitor, protocol.seconds, 0.0)
        return first + protocol.rounds * (time.perf_counter() - started) / 3


def _with_fixed_shapes(model: bytes, batch: int) -> bytes:
    """Return a model whose inputs and outputs have the batch for every axis that is free."""
    fixed = onnx.load_model_from_string(model)
    for tensor in (*fixed.graph.input, *fixed.graph.output):
        for axis in tensor.type.tensor_type.shape.dim:
            if not axis.HasField("dim_value"):
                axis.dim_value = batch
    return bytes(fixed.SerializeToString())


def _reference(graph: Graph, device: Device) -> Runner:
    """Return the network to watch the machine by, on one thread: further threads of its own would spin beside a model's."""
    return _builder(graph, replace(device, threads=1))()


class _KeptBytes:
    """Serialized models, kept for the next round as long as all of them fit: writing a large one takes seconds."""

    def __init__(self) -> None:
        self._models: dict[Graph, bytes] = {}
        self._room = KEPT_BYTES

    def get(self, graph: Graph, batch: int) -> bytes:
        """Return a graph as a model."""
        if graph in self._models:
            return self._models[graph]
        model = bytes(lower(graph, batch=batch).SerializeToString())
        if len(model) <= self._room:
            self._models[graph] = model
            self._room -= len(model)
        return model


def _builder(graph: Graph, device: Device, kept: _KeptBytes | None = None) -> Callable[[], Runner]:
    kept = kept or _KeptBytes()
    return lambda: _build(kept.get(graph, device.batch), device)


def _build(model: bytes, device: Device) -> Runner:
    return RUNTIMES.get(device.backend).build(model, threads=device.threads, options=device.options)
