"""A kit: everything that a device elsewhere needs to measure a table, in one file that Python runs."""

import dataclasses
import hashlib
import inspect
import json
import math
import zipfile
from pathlib import Path
from types import ModuleType

import latency_tables
from latency_tables import backends, device, journal, kit_main, machine, timing
from latency_tables.build import Plan, assemble
from latency_tables.device import Device
from latency_tables.kit_main import RESULT_FORMAT, RESULT_VERSION
from latency_tables.table import LatencyTable
from latency_tables.timing import Measurement, Protocol, Timings
from search_spaces import errors, registry
from search_spaces.errors import InvalidInput
from search_spaces.lowering import lower


def pack_kit(plan: Plan, target: Device, protocol: Protocol, path: Path) -> None:
    """Write a kit; `python KIT` on the device measures the plan and writes `result.json`.

    Args:
        plan: What is to be timed.
        target: Settings of the runtime there.
        protocol: How.
        path: Zip file to write.

    Raises:
        InvalidInput: If the file cannot be written.
    """
    spec = {
        "plan": digest(plan, target),
        "device": dataclasses.asdict(target),
        "protocol": dataclasses.asdict(protocol),
        "names": list(plan.graphs),
    }
    try:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for module in (latency_tables, device, journal, machine, timing, errors, registry, backends):
                archive.writestr(_file_name(module), inspect.getsource(module))
            for file in sorted(Path(inspect.getfile(backends)).parent.glob("*.py")):
                if file.name != "__init__.py":
                    archive.write(file, f"latency_tables/backends/{file.name}")
            archive.writestr("search_spaces/__init__.py", "")
            archive.writestr("__main__.py", inspect.getsource(kit_main))
            archive.writestr("spec.json", json.dumps(spec))
            for name, graph in [("reference", plan.reference), *enumerate(plan.graphs.values())]:
                archive.writestr(f"models/{name}.onnx", lower(graph, batch=target.batch).SerializeToString())
    except OSError as error:
        raise InvalidInput(f"cannot write the kit '{path}': {error.strerror}") from error


def read_result(path: Path, plan: Plan, target: Device) -> LatencyTable:
    """Return the table of what a kit measured.

    Args:
        path: The `result.json`.
        plan: The plan that the kit was made with.
        target: The settings that it was made with.

    Raises:
        InvalidInput: If the file is damaged, in another unit, or of another plan.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InvalidInput(f"cannot read the result '{path}': {error}") from error
    try:
        if content["format"] != RESULT_FORMAT or content["version"] != RESULT_VERSION:
            raise InvalidInput(f"'{path}' is no result of a kit of version {RESULT_VERSION}")
        if content["unit"] != "ms":
            raise InvalidInput(f"'{path}' must be in ms, got {content['unit']!r}")
        if content["plan"] != digest(plan, target):
            raise InvalidInput(
                f"'{path}' was measured with a kit of another space, device or number of networks; "
                "give what the kit was made with, or make a new kit"
            )
        measurements = {
            name: Measurement(tuple(map(float, rounds)), tuple(map(bool, undisturbed)))
            for name, (rounds, undisturbed) in content["measurements"].items()
        }
        times = [ms for m in measurements.values() for ms in m.rounds]
        if not times or not all(math.isfinite(ms) and ms > 0 for ms in times):
            raise InvalidInput(f"'{path}' holds times that are not positive numbers; measure anew")
        timings = Timings(measurements, float(content["reference_ms"]), float(content["disturbed"]))
        return assemble(plan, timings, target.name, dict(content["fingerprint"]), float(content["minutes"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput(f"'{path}' is damaged ({error!r}); measure anew") from error


def digest(plan: Plan, target: Device) -> str:
    """Return a short text that differs when another plan or another device was measured."""
    content = json.dumps([plan.space.name, [repr(graph) for graph in plan.networks.values()], sorted(plan.parts), plan.n_fit,
                          sorted(plan.estimated), dataclasses.asdict(target)])  # fmt: skip
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _file_name(module: ModuleType) -> str:
    name = module.__name__.replace(".", "/")
    return f"{name}/__init__.py" if hasattr(module, "__path__") else f"{name}.py"
