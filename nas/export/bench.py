"""Times an exported folder's model again, here and now."""

from pathlib import Path

from latency_tables.device import Device
from latency_tables.table.measure import measure_model
from latency_tables.timing.protocol import Protocol
from nas.export.verification.verify import changed_files, read_subnet
from search_spaces.errors import InvalidInput


def bench(folder: Path, device: Device, rounds: int) -> str:
    """Return a sentence with the latency of `model.onnx` on a device, beside what its export recorded there.

    Args:
        folder: As `hwnas export` wrote it.
        device: On this machine.
        rounds: Sessions that are opened and timed.

    Raises:
        InvalidInput: If a file is missing or damaged, the device takes batches, or its runtime refuses the model.
    """
    recorded = read_subnet(folder)["measured"]
    if device.batch != 1:
        raise InvalidInput(f"'{folder}' takes one sample a call, a device with batches of {device.batch} cannot time it")
    try:
        model = (folder / "model.onnx").read_bytes()
    except OSError as error:
        raise InvalidInput(f"'{folder}' lacks model.onnx; export the subnet again") from error
    if "model.onnx" in changed_files(folder):
        raise InvalidInput(f"'{folder / 'model.onnx'}' is not the file that was exported; export the subnet again")
    fingerprint = device.fingerprint()
    try:
        found = measure_model(model, device, Protocol(rounds=rounds))
    except InvalidInput:
        raise
    except Exception as error:  # every runtime has its own kinds
        raise InvalidInput(f"{device.backend} cannot run '{folder / 'model.onnx'}': {_first_line(error)}") from error
    text = f"{folder}: {found.ms:.4f} ms, spread {100 * found.spread:.1f} %, on {device.name}, {fingerprint['cpu']}"
    there = recorded.get("device", {})
    before = recorded.get("file_latency_ms", recorded.get("latency_ms"))
    if before is None or dict(there) != fingerprint:
        return f"{text}; its export recorded none on this device"
    return f"{text}; its export recorded {before:.4f} ms, {100 * (found.ms / before - 1):+.1f} %"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
