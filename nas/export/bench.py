"""Times an exported folder's model again, here and now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from latency_tables.device import Device
from latency_tables.table.measure import measure_model, run_energy, run_times
from latency_tables.timing.energy import EnergyMeter
from latency_tables.timing.protocol import Protocol
from nas.export.verification.verify import changed_files, read_subnet
from search_spaces.errors import DamagedFileError, HwnasError, InvalidInputError, first_line

SECONDS = 0.5  # of runs in one go, of which median and percentile are taken


@dataclass(frozen=True)
class BatchTime:
    """Latency of one batch.

    Attributes:
        batch: Samples that are taken at once.
        ms: Milliseconds by the protocol of the latency tables.
        spread: Relative spread of its rounds.
        median_ms: Median of single runs.
        p95_ms: Their 95th percentile.
        energy_mj: Millijoules of the whole processor for one run; None where it was not asked for.
    """

    batch: int
    ms: float
    spread: float
    median_ms: float
    p95_ms: float
    energy_mj: float | None = None


@dataclass(frozen=True)
class Benchmark:
    """Latency of an exported model, here and now.

    Attributes:
        folder: What was timed.
        device: Name of the device.
        cpu: The processor.
        times: For each batch size.
        recorded_ms: What the export recorded on this device with a batch of one; None where it recorded none.
    """

    folder: Path
    device: str
    cpu: str
    times: tuple[BatchTime, ...]
    recorded_ms: float | None


def bench(
    folder: Path, device: Device, rounds: int, batches: Sequence[int] = (1,), meter: EnergyMeter | None = None
) -> Benchmark:
    """Time `model.onnx` on a device.

    Args:
        folder: As `hwnas export` wrote it.
        device: On this machine.
        rounds: Sessions that are opened and timed.
        batches: Samples to take at once; more than one needs a model that was exported with `--dynamic-batch`.
        meter: Measures energy besides.

    Raises:
        InvalidInputError: If a file is missing or damaged, the model does not take such batches, or its runtime refuses it.
    """
    recorded = read_subnet(folder)["measured"]
    if device.remote:
        raise InvalidInputError(f"the device '{device.name}' is remote; `hwnas bench` times on this machine")
    if device.batch != 1:
        raise InvalidInputError(
            f"the batch of a device is that of its table; name batches to time by --batch {device.batch}"
        )
    if bad := [batch for batch in batches if not 1 <= batch <= 65_536]:
        raise InvalidInputError(f"--batch must be in 1..65536, got {bad[0]}")
    try:
        model = (folder / "model.onnx").read_bytes()
    except OSError as error:
        raise DamagedFileError(f"'{folder}' lacks model.onnx; export the subnet again") from error
    if "model.onnx" in changed_files(folder):
        raise DamagedFileError(f"'{folder / 'model.onnx'}' is not the file that was exported; export the subnet again")
    fingerprint, protocol = device.fingerprint(), Protocol(rounds=rounds)
    times = tuple(_timed(folder, model, replace(device, batch=batch), protocol, meter) for batch in batches)
    return Benchmark(folder, device.name, str(fingerprint["cpu"]), times, _recorded(recorded, fingerprint))


def _timed(folder: Path, model: bytes, device: Device, protocol: Protocol, meter: EnergyMeter | None) -> BatchTime:
    if device.batch > 1 and not _is_dynamic(model):
        raise InvalidInputError(f"'{folder}' takes one sample a call; export it with --dynamic-batch to time batches")
    try:
        found = measure_model(model, device, protocol)
        runs = 1000 * run_times(model, device, SECONDS)
        energy = run_energy(model, device, SECONDS, meter) if meter else None
    except HwnasError:
        raise
    except Exception as error:  # every runtime has its own kinds
        raise InvalidInputError(f"{device.backend} cannot run '{folder / 'model.onnx'}': {first_line(error)}") from error
    return BatchTime(device.batch, found.ms, found.spread, float(np.median(runs)), float(np.percentile(runs, 95)), energy)


def _is_dynamic(model: bytes) -> bool:
    shape = onnx.load_model_from_string(model).graph.input[0].type.tensor_type.shape
    return not shape.dim[0].HasField("dim_value")


def _recorded(measured: Mapping[str, Any], fingerprint: Mapping[str, Any]) -> float | None:
    before = measured.get("file_latency_ms", measured.get("latency_ms"))
    return float(before) if before is not None and dict(measured.get("device", {})) == fingerprint else None
