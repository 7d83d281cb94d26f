"""`hwnas measure` as a user types it: killed, for remote devices, with modelled accelerators."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

import nas
from nas.cli.command import main

EXPERIMENTS = Path(__file__).parents[3] / "experiments"
QUICK = {
    "threads": 1,
    "training": {"float_epochs": 2, "quantized_epochs": 1, "compile": False},
    "table": {"n_fit": 12, "n_held_out": 12, "rounds": 2, "seconds": 0.002, "retry_budget": 0},
    "search": {"n_measurements": 16, "n_calibration": 250, "batch": 8},
}


def write_experiment(folder, **changes):
    content = yaml.safe_load((EXPERIMENTS / "digits.yaml").read_text())
    for key, value in (QUICK | changes).items():
        content[key] = {**content.get(key, {}), **value} if isinstance(value, dict) else value
    (folder / "e.yaml").write_text(yaml.safe_dump(content))
    return str(folder / "e.yaml")


def refused(words, capsys):
    assert main([str(word) for word in words]) == 2
    return " ".join(capsys.readouterr().err.split())


@pytest.mark.serial
def test_killed_at_any_moment_it_goes_on_and_loses_one_timing_at_most(tmp_path):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "nas.cli", "measure", write_experiment(tmp_path), "--out", str(run)]
    journal = run / "latency" / "onnxruntime-1t.journal"
    kept, draw = [], random.Random(0)
    for _ in range(3):
        before = journal.stat().st_mtime_ns if journal.exists() else 0
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        while not (journal.exists() and journal.stat().st_mtime_ns > before and process.poll() is None):
            time.sleep(0.01)
        time.sleep(draw.uniform(0.1, 0.8))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        lines = journal.read_text().splitlines()
        whole = [line for line in lines[1:] if line.endswith("]")]
        assert whole[: len(kept)] == kept
        assert len(lines) - 1 - len(whole) <= 1
        kept = whole
    assert len(kept) > 10
    finished = subprocess.run(command, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert "timing 235 blocks and transitions and 24 whole networks, about" in finished.stderr
    assert not journal.exists()
    table = json.loads((run / "latency" / "onnxruntime-1t.json").read_text())
    for name, round_, units, _, _ in map(json.loads, kept):
        if name in table["measurements"]:
            assert table["measurements"][name][0][round_] == pytest.approx(units * table["reference_ms"])
    assert (run / "latency" / "onnxruntime-1t.png").read_bytes()[:4] == b"\x89PNG"


def test_a_run_for_a_device_elsewhere_measures_by_kits(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["--set", "devices={board: {remote: true}}", "--out", "run"]
    assert main(["train", write_experiment(tmp_path), *words]) == 0
    assert "the device 'board' is remote: make a benchmark bundle" in refused(["measure", "run"], capsys)
    assert main(["measure", "run", "--pack", "bundle.zip"]) == 0
    assert "bring that back with `hwnas measure run --from result.json`" in capsys.readouterr().out
    assert "'bundle.zip' exists already" in refused(["measure", "run", "--pack", "bundle.zip"], capsys)
    subprocess.run([sys.executable, "bundle.zip", "--out", "table-result.json"], check=True, capture_output=True)
    # It is another machine: what it says of itself need not agree with this one.
    result = json.loads(Path("table-result.json").read_text())
    result["fingerprint"]["cpu"] = "another"
    Path("table-result.json").write_text(json.dumps(result))
    assert main(["measure", "run", "--from", "table-result.json"]) == 0
    assert "networks near the front must be timed on the device 'board'" in refused(["search", "run"], capsys)
    assert not Path("run/front.csv").exists()
    assert "holds no network that is to be timed on 'board'" in refused(
        ["measure", "run", "--from", "table-result.json"], capsys
    )
    subprocess.run([sys.executable, "run/latency/board.front.zip"], check=True, capture_output=True)
    told = "was measured otherwise than the table (cpu "
    assert told in refused(["measure", "run", "--from", "result.json"], capsys)
    result = json.loads(Path("result.json").read_text())
    result["fingerprint"]["cpu"] = "another"
    Path("result.json").write_text(json.dumps(result))
    assert main(["measure", "run", "--from", "result.json"]) == 0
    assert main(["search", "run"]) == 0
    assert "another" in capsys.readouterr().err + Path("run/latency/board.json").read_text()
    front = nas.open_run("run").front()
    result = json.loads(Path("result.json").read_text())
    assert set(front["id"]) <= set(result["measurements"])
    assert (front["latency_ms"] > 0).all()


def test_a_modelled_accelerator_gives_objectives(tmp_path, capsys):
    accelerator = yaml.safe_load((EXPERIMENTS / "devices" / "bitserial.yaml").read_text())
    objectives = ["error", "estimated_ms", "estimated_mj"]
    experiment = write_experiment(
        tmp_path,
        accelerator=accelerator,
        search={"objectives": objectives, "n_measurements": 16, "batch": 8, "n_calibration": 250},
    )
    message = refused(["train", experiment, "--out", tmp_path / "refused"], capsys)
    assert "no kernel for ['float32']; narrow the space with `formats: [w8a8, w4a4]`" in message
    assert not (tmp_path / "refused").exists()
    narrow = write_experiment(
        tmp_path,
        accelerator=accelerator,
        formats=["w8a8", "w4a4"],
        search={
            "objectives": objectives,
            "n_measurements": 16,
            "batch": 8,
            "n_calibration": 250,
            "max": {"estimated_ms": 1.0},
        },
    )
    run = tmp_path / "narrow"
    assert main(["run", narrow, "--out", str(run)]) == 0
    front = nas.open_run(run).front(max={"estimated_mj": 1.0})
    values = front[["cross_entropy_val", "estimated_ms", "estimated_mj"]].to_numpy()
    for row in values:
        assert not ((values <= row).all(axis=1) & (values < row).any(axis=1)).any()
    assert set(front["stage1/block1/format"]) <= {"w8a8", "w4a4"}
    assert main(["front", str(run), "--max", "estimated_ms=1", "--best", "estimated_mj"]) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("backend: onnxruntme", "unknown runtime 'onnxruntme'"),
        ("thread: 2", "unknown key 'thread' (did you mean 'threads'?)"),
        ("threads: 0", "threads must be in 1..1024, got 0"),
        ("remote: true", "a remote device needs a label"),
        ("label: ../x", "a device's label must be"),
        ("- 1", "must hold keys and values of a device, got list"),
        ("batch: many", "batch"),
    ],
)
def test_bad_devices_are_refused(tmp_path, capsys, text, message):
    (tmp_path / "d.yaml").write_text(text)
    words = ["measure", "--space", "mobilenet-digits", "--device", tmp_path / "d.yaml", "--tables", tmp_path]
    assert message in refused(words, capsys)


def test_bad_requests_are_refused(tmp_path, capsys):
    words = ["measure", "--space", "mobilenet-digits", "--tables", str(tmp_path)]
    assert "no device file 'none.yaml', and no runtime of that name: onnxruntime" in refused(
        [*words, "--device", "none.yaml"], capsys
    )
    assert "a benchmark bundle times every block" in refused([*words, "--minutes", "5", "--pack", "bundle.zip"], capsys)
    assert "the time allows" in refused([*words, "--minutes", "0.01"], capsys)
    assert "cannot read the result" in refused([*words, "--from", tmp_path / "none.json"], capsys)
    assert "rounds must be in 2..1000" in refused([*words, "--rounds", "1"], capsys)
