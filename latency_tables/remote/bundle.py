"""A benchmark bundle: everything that a remote device needs to measure a table, in one file that Python runs."""

import csv
import dataclasses
import hashlib
import io
import json
import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import latency_tables
from latency_tables.device import Device
from latency_tables.remote.main import RESULT_FORMAT, RESULT_VERSION
from latency_tables.table.plan import Plan
from latency_tables.timing.measurement import Measurement
from latency_tables.timing.protocol import Protocol, Timings
from search_spaces.errors import DamagedFileError, HwnasError, InvalidInputError
from search_spaces.graph.signature import describe
from search_spaces.lowering import lower

ROOT = Path(latency_tables.__file__).parents[1]
MIN_ROUNDS = 2  # of each part, or nothing is known of how well times repeat
FOREIGN = "foreign"  # version of a runtime that hwnas does not know: its times come as CSV


@dataclasses.dataclass(frozen=True)
class Result:
    """Measurements of a remote device.

    Attributes:
        timings: Of everything in the plan.
        fingerprint: Of the device.
        minutes: How long it took.
    """

    timings: Timings
    fingerprint: dict[str, Any]
    minutes: float

    @property
    def is_foreign(self) -> bool:
        """True where other means than a benchmark bundle measured: the times are plain milliseconds, of no reference."""
        return bool(self.fingerprint["version"] == FOREIGN)


def write_bundle(plans: Sequence[Plan], target: Device, protocol: Protocol, path: Path) -> None:
    """Write a benchmark bundle; `python BUNDLE` on the device measures the plans and writes `result.json`.

    Args:
        plans: What is to be timed: one plan, or one for each phase.
        target: Settings of the runtime there.
        protocol: How.
        path: Zip file to write.

    Raises:
        InvalidInputError: If the file cannot be written.
    """
    spec = {
        "device": dataclasses.asdict(target),
        "protocol": {field.name: getattr(protocol, field.name) for field in dataclasses.fields(Protocol)},
        "plans": [
            {"plan": digest(plan, target), "phase": plan.space.phase, "names": list(plan.graphs), "models": _models(plan)}
            for plan in plans
        ],
    }
    try:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in _modules():
                archive.write(file, file.relative_to(ROOT).as_posix())
            archive.writestr("search_spaces/__init__.py", "")
            archive.write(ROOT / "latency_tables" / "remote" / "main.py", "__main__.py")
            archive.writestr("spec.json", json.dumps(spec))
            for plan in plans:
                models = _models(plan)
                rows = [[name, f"{models}/{i}.onnx", ""] for i, name in enumerate(plan.graphs) for _ in range(MIN_ROUNDS)]
                archive.writestr(
                    f"{models.replace('models', 'parts')}.csv", _to_csv([["part", "file", "latency_ms"], *rows])
                )
                for name, graph in [("reference", plan.reference), *enumerate(plan.graphs.values())]:
                    archive.writestr(f"{models}/{name}.onnx", lower(graph, batch=target.batch).SerializeToString())
    except OSError as error:
        raise InvalidInputError(f"cannot write the bundle '{path}': {error.strerror}") from error


def _models(plan: Plan) -> str:
    """Return the name of the folder in a bundle that holds a plan's models: `models`, or `models-PHASE`."""
    return f"models-{plan.space.phase}" if plan.space.phase else "models"


def read_results(path: Path, plan: Plan, target: Device) -> Result:
    """Return what was measured on a remote device: a bundle's `result.json`, or a CSV file filled in by other means.

    Args:
        path: The JSON, or a CSV file with the columns `part` and `latency_ms`, each part in two rows or more.
        plan: The plan that the bundle was made with.
        target: The settings that it was made with.

    Raises:
        InvalidInputError: If the file is damaged, in another unit, or of another plan.
    """
    if is_csv(path):
        fingerprint = {**dataclasses.asdict(target), "version": FOREIGN}
        return Result(_read_csv(path, list(plan.graphs)), fingerprint, 0.0)
    try:
        content = next((each for each in _results(path) if each.get("plan") == digest(plan, target)), None)
        if content is None:
            raise InvalidInputError(
                f"'{path}' was measured with a benchmark bundle of another space, device or number of networks, or by an "
                "older hwnas; give what the bundle was made with, or make a new bundle"
            )
        if content["unit"] != "ms":
            raise InvalidInputError(f"'{path}' must be in ms, got {content['unit']!r}")
        measurements = {
            name: Measurement(tuple(map(float, rounds)), tuple(map(bool, is_clean)))
            for name, (rounds, is_clean) in content["measurements"].items()
        }
        times = [ms for name in plan.graphs for ms in measurements[name].rounds or (math.nan,)]
        if not all(math.isfinite(ms) and ms > 0 for ms in times):
            raise DamagedFileError(f"'{path}' holds times that are not positive numbers; measure anew")
        drift = float(content.get("drift", 0))  # bundles told none before
        timings = Timings(measurements, float(content["reference_ms"]), float(content["disturbed"]), drift)
        return Result(timings, dict(content["fingerprint"]), float(content["minutes"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, HwnasError):
            raise
        raise DamagedFileError(f"'{path}' is damaged ({error!r}); measure anew") from error


def holds(path: Path, plan: Plan, target: Device) -> bool:
    """Return whether a result is of a plan; a CSV file, whether it holds all its parts and names no models of another phase.

    Raises:
        InvalidInputError: If it is no result.
    """
    if is_csv(path):
        rows = _rows(path)
        files = [row["file"] for row in rows if row.get("file")]
        has_all = {row["part"] for row in rows} >= set(plan.graphs)
        return has_all and all(file.startswith(f"{_models(plan)}/") for file in files)
    return any(each.get("plan") == digest(plan, target) for each in _results(path))


def measured_names(path: Path) -> set[str]:
    """Return the names of what a result holds, JSON or CSV.

    Raises:
        InvalidInputError: If it is no result.
    """
    if is_csv(path):
        return {row["part"] for row in _rows(path)}
    return {name for each in _results(path) for name in each["measurements"]}


def measured_device(path: Path) -> str | None:
    """Return the name of the device that a result says it is of; None where it says none, as a CSV file."""
    return None if is_csv(path) else _results(path)[0].get("device")


def _results(path: Path) -> list[dict[str, Any]]:
    """Return what a bundle has measured: of each of its plans.

    Raises:
        InvalidInputError: If it is no result of a bundle, or of another version.
    """
    text, way_out = _read_text(path), "give the JSON file that it wrote, or a CSV file"
    try:
        content = json.loads(text)
    except ValueError as error:
        raise InvalidInputError(f"'{path}' is no result of a benchmark bundle ({error}); {way_out}") from error
    if not isinstance(content, dict) or content.get("format") != RESULT_FORMAT:
        raise InvalidInputError(f"'{path}' is no result of a benchmark bundle; {way_out}")
    if content.get("version") != RESULT_VERSION:
        raise InvalidInputError(
            f"'{path}' is the result of a benchmark bundle of version {content.get('version')}, not {RESULT_VERSION}"
        )
    results = content.get("results", [content])
    found = [each for each in results if isinstance(each, dict)] if isinstance(results, list) else []
    if not found or len(found) < len(results) or not all(isinstance(each.get("measurements"), dict) for each in found):
        raise DamagedFileError(f"'{path}' is damaged; measure anew")
    return found


def is_csv(path: Path) -> bool:
    """Return whether a result was filled in by other means than a bundle."""
    return path.suffix.lower() == ".csv"


def _read_text(path: Path) -> str:
    """Return the text of a file in UTF-8, or in UTF-16 if it begins with its mark, as some spreadsheets write."""
    try:
        content = path.read_bytes()
        return content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"cannot read the result '{path}': {error}") from error


def _rows(path: Path) -> list[dict[str, str]]:
    """Return the parts of a CSV file by column, as spreadsheets write it: any case, commas, semicolons or tabs."""
    lines = _read_text(path).splitlines()
    first = lines[0] if lines else ""
    separator = max(",;\t", key=first.count)
    rows = list(csv.reader(lines, delimiter=separator))
    header = [name.strip().lower() for name in rows[0]] if rows else []
    if not {"part", "latency_ms"} <= set(header):
        raise InvalidInputError(f"'{path}' must have the columns part and latency_ms, got {header or 'nothing'}")
    found = [{name: cell.strip() for name, cell in zip(header, row, strict=False)} for row in rows[1:]]
    whole = [row for row in found if {"part", "latency_ms"} <= set(row) and row["part"]]
    if separator != ",":  # then the decimal sign is a comma
        whole = [row | {"latency_ms": row["latency_ms"].replace(",", ".")} for row in whole]
    return whole


def _read_csv(path: Path, names: list[str]) -> Timings:
    rounds: dict[str, list[float]] = {name: [] for name in names}
    for row in _rows(path):
        part, text = row["part"], row["latency_ms"]
        if part not in rounds:
            continue
        try:
            ms = float(text)
        except ValueError:
            ms = math.nan
        if not (math.isfinite(ms) and ms > 0):
            raise InvalidInputError(f"'{path}': latency_ms must hold positive numbers of milliseconds, got '{text}'")
        rounds[part].append(ms)
    if rare := [name for name, times in rounds.items() if len(times) < MIN_ROUNDS]:
        raise InvalidInputError(
            f"'{path}' must hold each part at least twice, so that it can be seen how well times repeat; {len(rare)} of "
            f"{len(names)} are too few, the first is '{rare[0]:.60}'"
        )
    measurements = {name: Measurement(tuple(times), (True,) * len(times)) for name, times in rounds.items()}
    return Timings(measurements, 1.0, 0.0, 0.0)


def digest(plan: Plan, target: Device) -> str:
    """Return a short text that differs when another plan or another device was measured."""
    networks = [describe(subnet.graph.nodes) for subnet in plan.networks.values()]
    parts = [sorted(plan.parts), plan.n_fit, sorted(plan.estimated), *([sorted(plan.copies.items())] if plan.copies else [])]
    settings = {key: value for key, value in dataclasses.asdict(target).items() if key != "remote"}
    content = json.dumps([plan.space.name, networks, *parts, settings])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _to_csv(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _modules() -> list[Path]:
    """Return the files of this project that the bundle imports."""
    tables, spaces = ROOT / "latency_tables", ROOT / "search_spaces"
    packages = (tables / "runtimes", tables / "timing")
    files = [file for package in packages for file in sorted(package.glob("*.py"))]
    own = [spaces / f"{name}.py" for name in ("errors", "plugins", "registry")]
    return [tables / "__init__.py", tables / "device.py", *files, *own]
