"""A kit: everything that a device elsewhere needs to measure a table, in one file that Python runs."""

import csv
import dataclasses
import hashlib
import inspect
import io
import json
import math
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import latency_tables
from latency_tables import backends, device, journal, kit_main, machine, timing
from latency_tables.build import Plan
from latency_tables.device import Device
from latency_tables.kit_main import RESULT_FORMAT, RESULT_VERSION
from latency_tables.timing import Measurement, Protocol, Timings
from search_spaces import errors, registry
from search_spaces.errors import InvalidInput
from search_spaces.lowering import lower


@dataclasses.dataclass(frozen=True)
class Result:
    """What was measured elsewhere.

    Attributes:
        timings: Of everything in the plan.
        fingerprint: Of the device.
        minutes: How long it took.
    """

    timings: Timings
    fingerprint: dict[str, Any]
    minutes: float


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
            rows = [[name, f"models/{i}.onnx", ""] for i, name in enumerate(plan.graphs)]
            archive.writestr("parts.csv", _to_csv([["part", "file", "latency_ms"], *rows]))
            for name, graph in [("reference", plan.reference), *enumerate(plan.graphs.values())]:
                archive.writestr(f"models/{name}.onnx", lower(graph, batch=target.batch).SerializeToString())
    except OSError as error:
        raise InvalidInput(f"cannot write the kit '{path}': {error.strerror}") from error


def read_result(path: Path, plan: Plan, target: Device) -> Result:
    """Return what was measured elsewhere: a kit's `result.json`, or a CSV file filled in by other means.

    Args:
        path: The JSON, or a CSV file with the columns `part` and `latency_ms`, each part in several rows.
        plan: The plan that the kit was made with.
        target: The settings that it was made with.

    Raises:
        InvalidInput: If the file is damaged, in another unit, or of another plan.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read the result '{path}': {error}") from error
    if path.suffix == ".csv":
        fingerprint = {**dataclasses.asdict(target), "version": "foreign"}
        return Result(_read_csv(text, path, list(plan.graphs)), fingerprint, 0.0)
    way_out = "give the JSON file that it wrote, or a CSV file"
    try:
        content = json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"'{path}' is no result of a kit ({error}); {way_out}") from error
    try:
        if not isinstance(content, dict) or content.get("format") != RESULT_FORMAT:
            raise InvalidInput(f"'{path}' is no result of a kit; {way_out}")
        if content["version"] != RESULT_VERSION:
            raise InvalidInput(f"'{path}' is the result of a kit of version {content['version']}, not {RESULT_VERSION}")
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
        times = [ms for name in plan.graphs for ms in measurements[name].rounds or (math.nan,)]
        if not all(math.isfinite(ms) and ms > 0 for ms in times):
            raise InvalidInput(f"'{path}' holds times that are not positive numbers; measure anew")
        drift = float(content.get("drift", 0))  # kits told none before
        timings = Timings(measurements, float(content["reference_ms"]), float(content["disturbed"]), drift)
        return Result(timings, dict(content["fingerprint"]), float(content["minutes"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput(f"'{path}' is damaged ({error!r}); measure anew") from error


def measured_names(path: Path) -> set[str]:
    """Return the names of what a result holds; none if it is no result."""
    try:
        return set(json.loads(path.read_text())["measurements"])
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _read_csv(text: str, path: Path, names: list[str]) -> Timings:
    rows = list(csv.DictReader(text.splitlines()))
    if not rows or not {"part", "latency_ms"} <= set(rows[0]):
        raise InvalidInput(f"'{path}' must have the columns part and latency_ms, got {list(rows[0]) if rows else 'nothing'}")
    rounds: dict[str, list[float]] = {name: [] for name in names}
    for row in rows:
        try:
            ms = float(row["latency_ms"])
        except (TypeError, ValueError):
            ms = math.nan
        if not (math.isfinite(ms) and ms > 0):
            raise InvalidInput(f"'{path}': latency_ms must hold positive numbers of milliseconds, got '{row['latency_ms']}'")
        if row["part"] in rounds:
            rounds[row["part"]].append(ms)
    if rare := [name for name, times in rounds.items() if len(times) < 2]:
        raise InvalidInput(
            f"'{path}' must hold each part at least twice, so that it can be seen how well times repeat; {len(rare)} of "
            f"{len(names)} are too few, the first is '{rare[0]:.60}'"
        )
    measurements = {name: Measurement(tuple(times), (True,) * len(times)) for name, times in rounds.items()}
    return Timings(measurements, 1.0, 0.0, 0.0)


def digest(plan: Plan, target: Device) -> str:
    """Return a short text that differs when another plan or another device was measured."""
    content = json.dumps([plan.space.name, [repr(graph) for graph in plan.networks.values()], sorted(plan.parts), plan.n_fit,
                          sorted(plan.estimated), dataclasses.asdict(target)])  # fmt: skip
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _to_csv(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _file_name(module: ModuleType) -> str:
    name = module.__name__.replace(".", "/")
    return f"{name}/__init__.py" if hasattr(module, "__path__") else f"{name}.py"
