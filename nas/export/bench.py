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
from search_spaces.lowering import AXES, LENGTHS, lengths_of
from search_spaces.space.phase import Phase

SECONDS = 0.5  # of runs in one go, of which median and percentile are taken


@dataclass(frozen=True)
class BatchTime:
    """Latency of one batch, of a language model of one phase.

    Attributes:
        batch: Samples that are taken at once.
        phase: Way of running a language model, `decode` or `prefill`; '' for other networks.
        ms: Milliseconds by the protocol of the latency tables.
        spread: Relative spread of its rounds.
        median_ms: Median of single runs.
        p95_ms: Their 95th percentile.
        energy_mj: Millijoules of the whole processor for one run; None where it was not asked for.
        recorded_ms: What the export recorded on this device with a batch of one; None where it recorded none.
    """

    batch: int
    phase: str
    ms: float
    spread: float
    median_ms: float
    p95_ms: float
    energy_mj: float | None
    recorded_ms: float | None


@dataclass(frozen=True)
class Benchmark:
    """Latency of an exported model, here and now.

    Attributes:
        folder: What was timed.
        device: Name of the device.
        cpu: The processor.
        times: For each phase and each batch size.
    """

    folder: Path
    device: str
    cpu: str
    times: tuple[BatchTime, ...]


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
    subnet = read_subnet(folder)
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
    if max(batches) > 1 and not _is_dynamic(model):
        can_be_dynamic = not {"adopted", "vocabulary"} & set(subnet)
        way_out = "; export it with --dynamic-batch to time batches" if can_be_dynamic else ""
        raise InvalidInputError(f"'{folder}' takes one sample a call{way_out}")
    if "vocabulary" in subnet and "phases" not in subnet:
        raise InvalidInputError(f"'{folder}' was exported by an older hwnas; export the subnet again to time it")
    fingerprint, protocol = device.fingerprint(), Protocol(rounds=rounds)
    times = []
    for phase, of_phase in _phases(model, subnet).items():
        for batch in batches:
            recorded = _recorded(subnet["measured"], fingerprint, phase) if batch == 1 else None
            times.append(_timed(of_phase, phase, folder, replace(device, batch=batch), protocol, meter, recorded))
    return Benchmark(folder, device.name, str(fingerprint["cpu"]), tuple(times))


def _phases(model: bytes, subnet: Mapping[str, Any]) -> dict[str, bytes]:
    """Return by phase the model as it is called then; under '' the model itself where there are none."""
    return {name: _in_phase(model, Phase(**sizes)) for name, sizes in subnet.get("phases", {}).items()} or {"": model}


def _in_phase(model: bytes, phase: Phase) -> bytes:
    """Return a language model with the axes and lengths of a phase."""
    fixed = onnx.load_model_from_string(model)
    total = phase.past + phase.tokens
    sizes = dict(zip(AXES, (phase.tokens, total), strict=True))
    for tensor in (*fixed.graph.input, *fixed.graph.output):
        for axis in tensor.type.tensor_type.shape.dim:
            if axis.dim_param:
                axis.dim_value = sizes[axis.dim_param]
    for name, length in lengths_of(total).items():
        fixed.graph.initializer.append(onnx.numpy_helper.from_array(length, name))
    taken = [tensor for tensor in fixed.graph.input if tensor.name not in LENGTHS]
    del fixed.graph.input[:]
    fixed.graph.input.extend(taken)
    return bytes(fixed.SerializeToString())


def _timed(
    model: bytes,
    phase: str,
    folder: Path,
    device: Device,
    protocol: Protocol,
    meter: EnergyMeter | None,
    recorded_ms: float | None,
) -> BatchTime:
    try:
        found = measure_model(model, device, protocol)
        runs = 1000 * run_times(model, device, SECONDS)
        energy = run_energy(model, device, SECONDS, meter) if meter else None
    except HwnasError:
        raise
    except Exception as error:  # every runtime has its own kinds
        raise InvalidInputError(f"{device.backend} cannot run '{folder / 'model.onnx'}': {first_line(error)}") from error
    median, p95 = float(np.median(runs)), float(np.percentile(runs, 95))
    return BatchTime(device.batch, phase, found.ms, found.spread, median, p95, energy, recorded_ms)


def _is_dynamic(model: bytes) -> bool:
    shape = onnx.load_model_from_string(model).graph.input[0].type.tensor_type.shape
    return bool(shape.dim) and not shape.dim[0].HasField("dim_value")


def _recorded(measured: Mapping[str, Any], fingerprint: Mapping[str, Any], phase: str) -> float | None:
    if dict(measured.get("device", {})) != fingerprint:
        return None
    before = measured.get(f"{phase}_ms") if phase else measured.get("file_latency_ms", measured.get("latency_ms"))
    return None if before is None else float(before)
