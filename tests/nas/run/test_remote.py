"""Remote devices: whatever brings the times, a search ends with a front that is measured whole."""

import csv
import json
import subprocess
import sys

import pytest
import yaml

import nas
from nas.cli.command import main
from nas.objectives.table_files import read_table


@pytest.fixture
def board(run):
    """A trained run whose device is remote and has no table yet."""
    content = yaml.safe_load((run / "experiment.yaml").read_text())
    content["experiment"]["devices"] = {"board": {"remote": True}}
    (run / "experiment.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    for file in [*(run / "latency").iterdir(), run / "front.csv"]:
        file.unlink()
    return run


@pytest.fixture(scope="session")
def table_result(finished, built_once):
    """What the bundle of the table measured; the folder is made as `board` is."""

    def build(folder):
        content = yaml.safe_load((finished / "experiment.yaml").read_text())["experiment"]
        content["devices"] = {"board": {"remote": True}}
        (folder / "e.yaml").write_text(yaml.safe_dump(content))
        words = ["measure", str(folder / "e.yaml"), "--out", str(folder / "run"), "--pack", str(folder / "bundle.zip")]
        assert main(words) == 0
        subprocess.run([sys.executable, "bundle.zip", "--out", "table.json"], cwd=folder, check=True, capture_output=True)

    return built_once("board", build) / "table.json"


def as_csv(result, path, factor=1.0):
    """Write a bundle's result as somebody would who timed its models by other means."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["part", "latency_ms"])
        for name, (rounds, _) in json.loads(result.read_text())["measurements"].items():
            writer.writerows([name, factor * ms] for ms in rounds)
    return path


def take(run, result, form, tmp_path):
    file = result if form == "json" else as_csv(result, tmp_path / f"{result.stem}.csv")
    assert main(["measure", str(run), "--from", str(file)]) == 0


@pytest.mark.parametrize("of_front", ["json", "csv"])
@pytest.mark.parametrize("of_table", ["json", "csv"])
def test_a_search_ends_with_a_front_by_kits_and_by_csv(board, table_result, tmp_path, of_table, of_front):
    take(board, table_result, of_table, tmp_path)
    assert main(["search", str(board)]) == 2
    subprocess.run(
        [sys.executable, board / "latency" / "board.front.zip", "--out", "front.json"],
        cwd=tmp_path,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    take(board, tmp_path / "front.json", of_front, tmp_path)
    assert main(["search", str(board)]) == 0
    front = nas.open_run(board).front()
    ratio = front["latency_ms"] / front["latency_ms_predicted"]
    assert ratio.between(0.3, 3).all()  # both are milliseconds, whatever their reference


def test_another_version_of_the_runtime_is_refused(board, table_result, tmp_path, failing):
    take(board, table_result, "json", tmp_path)
    assert "near the front must be timed" in failing(["search", board])
    bundle = board / "latency" / "board.front.zip"
    subprocess.run([sys.executable, bundle, "--out", "front.json"], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    content = json.loads((tmp_path / "front.json").read_text())
    content["fingerprint"]["version"] = "1.2.3"
    (tmp_path / "front.json").write_text(json.dumps(content))
    told = failing(["measure", board, "--from", tmp_path / "front.json"])
    assert "was measured otherwise than the table (version 1.2.3, of the table" in told


def test_a_table_is_replaced_when_it_is_asked_for_or_cannot_be_read(board, table_result, tmp_path, failing):
    take(board, table_result, "json", tmp_path)
    assert "holds no network that is to be timed on 'board'" in failing(["measure", board, "--from", table_result])
    slower = as_csv(table_result, tmp_path / "slower.csv", factor=2.0)
    assert main(["measure", str(board), "--from", str(slower), "--again"]) == 0
    path = board / "latency" / "board.json"
    assert read_table(path).fingerprint["version"] == "foreign"
    path.write_text("{")
    assert main(["measure", str(board), "--from", str(table_result)]) == 0
    assert read_table(path).fingerprint["version"] != "foreign"


def test_times_of_networks_go_with_the_table_that_they_were_taken_by(board, table_result, tmp_path):
    take(board, as_csv(table_result, tmp_path / "slow.csv", factor=10.0), "json", tmp_path)
    assert main(["search", str(board)]) == 2
    bundle = board / "latency" / "board.front.zip"
    subprocess.run([sys.executable, bundle, "--out", "front.json"], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    slow_front = as_csv(tmp_path / "front.json", tmp_path / "slow_front.csv", factor=10.0)
    assert main(["measure", str(board), "--from", str(slow_front)]) == 0
    assert main(["search", str(board)]) == 0
    assert main(["measure", str(board), "--from", str(table_result), "--again"]) == 0
    assert main(["search", str(board)]) == 2  # the front is to be timed anew
    bundle.replace(tmp_path / "bundle.zip")
    subprocess.run(
        [sys.executable, "bundle.zip", "--out", "front.json"], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL
    )
    assert main(["measure", str(board), "--from", str(tmp_path / "front.json")]) == 0
    assert main(["search", str(board)]) == 0
    front = nas.open_run(board).front()
    assert (front["latency_ms"] / front["latency_ms_predicted"]).between(0.3, 3).all()


def test_a_run_without_a_device_elsewhere_takes_no_result(run, table_result, failing):
    assert "has no remote device" in failing(["measure", run, "--from", table_result, "--again"])


def test_times_that_are_all_alike_are_refused_and_nothing_is_written(board, table_result, tmp_path, failing):
    with (tmp_path / "ones.csv").open("w", newline="") as file:
        names = json.loads(table_result.read_text())["measurements"]
        csv.writer(file).writerows([["part", "latency_ms"], *([name, 1.0] for name in names for _ in "ab")])
    assert "held-out networks took 1 ms" in failing(["measure", board, "--from", tmp_path / "ones.csv"])
    assert list((board / "latency").iterdir()) == []
    take(board, table_result, "csv", tmp_path)


def test_microseconds_are_noticed(board, table_result, tmp_path, capsys):
    wrong = as_csv(table_result, tmp_path / "wrong.csv", factor=1000.0)
    assert main(["measure", str(board), "--from", str(wrong)]) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "times as long as on this machine: latency_ms holds milliseconds; were these microseconds?" in told
