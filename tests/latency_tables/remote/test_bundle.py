import csv
import json
import os
import site
import subprocess
import sys
import time
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest

from latency_tables.device import Device
from latency_tables.remote.bundle import read_results, write_bundle
from latency_tables.table.build import assemble
from latency_tables.table.plan import plan_table
from latency_tables.timing.protocol import Protocol
from search_spaces import InvalidInputError, Stage, classes, mobilenet
from search_spaces.errors import HwnasError, MeasurementError

DEVICE = Device(label="board")
QUICK = Protocol(rounds=2, seconds=0.001, retry_budget=0.0)


@pytest.fixture(scope="module")
def plan():
    space = mobilenet(
        "least",
        input_shape=(1, 8, 8),
        outputs=classes(3),
        stem_width=8,
        stages=[Stage(depths=(1,), widths=(8, 12))],
        kernels=(3,),
        expand_ratios=(1,),
        formats=("float32", "w8a8"),
    )
    return plan_table(space, n_fit=6, n_held_out=4, rng=np.random.default_rng(0))


@pytest.fixture(scope="module")
def result(plan, tmp_path_factory):
    """What a benchmark bundle measures in a virtual environment that holds NumPy and onnxruntime and nothing else."""
    folder = tmp_path_factory.mktemp("elsewhere")
    venv.create(folder / "venv", with_pip=False)
    packages = next((folder / "venv").glob("lib/python*/site-packages"))
    for name in ("numpy", "numpy.libs", "onnxruntime"):
        for source in site.getsitepackages():
            if (Path(source) / name).exists():
                os.symlink(Path(source) / name, packages / name)
    bundle = folder / "bundle.zip"
    write_bundle([plan], DEVICE, QUICK, bundle)
    python = str(folder / "venv" / "bin" / "python")
    clean = {"PATH": os.environ["PATH"]}
    absent = subprocess.run([python, "-c", "import onnx"], capture_output=True, text=True, env=clean, cwd=folder)
    assert "No module named 'onnx'" in absent.stderr
    found = subprocess.run([python, "bundle.zip"], capture_output=True, text=True, env=clean, cwd=folder)
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[1].endswith("timings, 0.0 minutes left")  # a line, for nobody sees it rewritten
    assert sorted(file.name for file in folder.iterdir()) == ["bundle.zip", "result.json", "venv"]
    return folder / "result.json"


def test_what_a_kit_measures_becomes_a_table(plan, result):
    found = read_results(result, plan, DEVICE)
    table = assemble(plan, found.timings, DEVICE.name, found.fingerprint, found.minutes)
    assert table.device == "board"
    assert table.fingerprint["backend"] == "onnxruntime"
    assert set(table.measurements) == set(plan.parts)
    assert (table.report.n_fit, table.report.n_held_out) == (6, 4)
    assert np.isfinite(table.predict_ms(plan.space, plan.space.sample(5, np.random.default_rng(0)))).all()


@pytest.mark.serial
def test_an_interrupted_kit_goes_on(plan, result, tmp_path):
    bundle = tmp_path / "bundle.zip"
    write_bundle([plan], DEVICE, QUICK, bundle)
    command = [sys.executable, str(bundle), "--out", str(tmp_path / "r.json")]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    journal = tmp_path / "r.journal"
    while running.poll() is None and not (journal.exists() and len(journal.read_text().splitlines()) > 8):
        time.sleep(0.005)
    running.kill()
    running.wait()
    kept = [line for line in journal.read_text().splitlines() if line.endswith("]")][1:]
    journal.with_name("copy").write_text("\n".join(kept))
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    content = json.loads((tmp_path / "r.json").read_text())
    for name, round_, units, _, _ in map(json.loads, kept):
        ms = content["measurements"][name][0][round_]
        assert ms == pytest.approx(units * content["reference_ms"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(format="x"), "is no result of a benchmark bundle"),
        (lambda c: c.update(unit="s"), "must be in ms, got 's'"),
        (
            lambda c: c.update(plan="x"),
            "was measured with a benchmark bundle of another space, device or number of networks",
        ),
        (lambda c: c.pop("fingerprint"), "is damaged"),
        (lambda c: c["measurements"].pop("call"), "is damaged"),
        (lambda c: c["measurements"].update(call=[[-1.0, 1.0], [True, True]]), "not positive numbers"),
    ],
)
def test_results_that_do_not_fit_are_refused(plan, result, tmp_path, change, message):
    content = json.loads(result.read_text())
    change(content)
    (tmp_path / "r.json").write_text(json.dumps(content))
    with pytest.raises(HwnasError, match=message):
        read_results(tmp_path / "r.json", plan, DEVICE)


def test_another_device_or_a_missing_file_is_refused(plan, result, tmp_path):
    with pytest.raises(InvalidInputError, match="bundle of another space, device"):
        read_results(result, plan, Device(label="board", threads=2))
    with pytest.raises(InvalidInputError, match="cannot read the result"):
        read_results(tmp_path / "none.json", plan, DEVICE)
    with pytest.raises(InvalidInputError, match="cannot write the bundle"):
        write_bundle([plan], DEVICE, QUICK, tmp_path / "no" / "bundle.zip")


def test_times_of_a_foreign_runtime_come_as_csv(plan, tmp_path):
    """Whoever can time ONNX files by other means fills in the CSV that lies in the bundle."""
    write_bundle([plan], DEVICE, QUICK, tmp_path / "bundle.zip")
    with zipfile.ZipFile(tmp_path / "bundle.zip") as archive:
        rows = list(csv.DictReader(archive.read("parts.csv").decode().splitlines()))
        assert set(rows[0]) == {"part", "file", "latency_ms"}
        times = [{"part": row["part"], "latency_ms": len(archive.read(row["file"])) / 1e4} for row in rows]
    assert len(rows) == 2 * len(plan.graphs)
    write_rows(tmp_path / "r.csv", times)
    found = read_results(tmp_path / "r.csv", plan, DEVICE)
    assert found.fingerprint["version"] == "foreign"
    assert set(found.timings.measurements) == set(plan.graphs)
    write_rows(tmp_path / "r.csv", times[1:])
    with pytest.raises(InvalidInputError, match="each part at least twice, so that it can be seen how well times repeat"):
        read_results(tmp_path / "r.csv", plan, DEVICE)
    write_rows(tmp_path / "r.csv", [{**times[0], "latency_ms": "fast"}, *times])
    with pytest.raises(InvalidInputError, match="latency_ms must hold positive numbers of milliseconds, got 'fast'"):
        read_results(tmp_path / "r.csv", plan, DEVICE)
    write_rows(tmp_path / "r.csv", [{"part": "x", "seconds": 1}])
    with pytest.raises(InvalidInputError, match="must have the columns part and latency_ms"):
        read_results(tmp_path / "r.csv", plan, DEVICE)


@pytest.mark.parametrize(
    ("name", "encoding", "separator", "header", "end"),
    [
        ("r.csv", "utf-8-sig", ",", "part,latency_ms", "\r\n"),
        ("r.CSV", "utf-8", ",", "Part,Latency_MS", "\n"),
        ("r.csv", "utf-8", ";", " part ; latency_ms ", "\r\n"),
        ("r.csv", "utf-16", "\t", "part,latency_ms", "\n"),
    ],
)
def test_what_spreadsheets_write_is_read(plan, tmp_path, name, encoding, separator, header, end):
    lines = [header.replace(",", separator)]
    for i, part in enumerate(plan.graphs):
        decimal = f"{0.5 + i / 100:.2f}" if separator == "," else f"{0.5 + i / 100:.2f}".replace(".", ",")
        quoted = f'"{part}"' if "," in part or ";" in part else part
        lines += [f"{quoted}{separator}{decimal}"] * 2
    lines += [separator, f"a note{separator}not a time"]
    (tmp_path / name).write_bytes((end.join(lines) + end).encode(encoding))
    timings = read_results(tmp_path / name, plan, DEVICE).timings
    assert [m.ms for m in timings.measurements.values()] == pytest.approx([0.5 + i / 100 for i in range(len(plan.graphs))])


def test_times_that_are_all_alike_make_no_table(plan, tmp_path):
    write_rows(tmp_path / "r.csv", [{"part": name, "latency_ms": 1.0} for name in plan.graphs for _ in "ab"])
    found = read_results(tmp_path / "r.csv", plan, DEVICE)
    with pytest.raises(MeasurementError, match="all 4 held-out networks took 1 ms: times all alike cannot be of this space"):
        assemble(plan, found.timings, DEVICE.name, found.fingerprint, found.minutes)


def write_rows(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
