"""`hwnas front` as a user types it."""

import io
import json
import shutil

import pandas as pd
import pytest
import yaml

import nas
from nas.cli.command import main


def test_front_query(finished, capsys):
    assert main(["front", str(finished), "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    limit = sorted(row["latency_ms"] for row in rows)[len(rows) // 2]
    assert main(["front", str(finished), "--max", f"latency_ms={limit}", "--min", "macs=1", "--format", "csv"]) == 0
    (finished / "query.csv").write_text(capsys.readouterr().out)
    frame = pd.read_csv(finished / "query.csv")
    (finished / "query.csv").unlink()
    assert 0 < len(frame) <= len(rows)
    assert (frame["latency_ms"] <= limit).all()
    best = ["front", str(finished), "--max", "size_bytes=1e9", "--best", "latency_ms", "--format", "json"]
    assert main(best) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["latency_ms"] == min(r["latency_ms"] for r in rows)
    direct = nas.open_run(finished).front(max={"latency_ms": limit})
    assert len(direct) == len(frame)


def test_front_sorts_picks_and_compares(finished, tmp_path, capsys):
    front = nas.open_run(finished).front()
    assert main(["front", str(finished), "--sort", "latency_ms", "--columns", "latency_ms,id", "--format", "csv"]) == 0
    rows = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert list(rows) == ["latency_ms", "id"]
    assert rows["latency_ms"].is_monotonic_increasing
    assert main(["front", str(finished), "--knee", "--columns", "id"]) == 0
    assert capsys.readouterr().out.split()[1] in set(front["id"])
    worse = shutil.copytree(finished, tmp_path / "worse")
    other = nas.open_run(worse)
    other.folder.write_front(front.assign(latency_ms=2 * front["latency_ms"]), other.baselines())
    assert main(["front", str(finished), "--against", str(worse), "--format", "json"]) == 0
    printed = capsys.readouterr()
    assert not any(row["beaten"] for row in json.loads(printed.out))
    n = len(front)
    assert f"'{worse}' beats 0 of these {n} networks, '{finished}' beats {n} of its {n}" in " ".join(printed.err.split())


def test_front_gives_the_uniform_networks_to_programs_too(finished, capsys):
    assert main(["front", str(finished), "--baselines", "--columns", "id, baseline, error_val", "--format", "csv"]) == 0
    rows = pd.read_csv(io.StringIO(capsys.readouterr().out), dtype={"id": str})
    assert rows["baseline"].isna().sum() == len(nas.open_run(finished).front())
    assert {"w8a8 largest", "float32 smallest"} <= set(rows["baseline"])


def test_only_what_can_be_compared_is(finished, tmp_path, capsys, failing, change_table):
    other = shutil.copytree(finished, tmp_path / "other")
    change_table(other, fingerprint={"threads": 7})
    assert main(["front", str(finished), "--against", str(other)]) == 0
    assert "take care, the devices differ" in " ".join(capsys.readouterr().err.split())
    file = other / "experiment.yaml"
    content = yaml.safe_load(file.read_text())
    content["experiment"]["data"] = {"name": "fashion_mnist", "n_val": 10_000}
    file.write_text(yaml.safe_dump(content))
    assert "cannot be compared: " in failing(["front", finished, "--against", other])


@pytest.mark.parametrize("name", ["d[/b]", "d[red]x", "a:smile:"])
def test_names_of_users_are_no_markup(finished, tmp_path, name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    other = shutil.copytree(finished, tmp_path / name)
    assert main(["front", str(other), "--against", str(finished)]) == 0
    assert f"'{other}' beats 0 of its" in capsys.readouterr().err
    assert main(["devices", "--tables", str(other)]) == 0
    assert f"tables in {other}" in capsys.readouterr().out


def test_front_refuses_bad_queries(finished, failing):
    message = failing(["front", finished, "--max", "latency_ms=0"], code=1)
    assert "satisfies these constraints; on the front latency_ms is" in message
    twice = failing(["front", finished, "--max", "latency_ms=1", "--max", "latency_ms=2"])
    assert "--max of latency_ms is given twice, as 1 and 2" in twice
    assert "--columns must be one of id, " in failing(["front", finished, "--columns", "id,colour"])
    assert "(did you mean 'latency_ms'?)" in failing(["front", finished, "--columns", "latency"])
    assert "--sort must be one of error_val, " in failing(["front", finished, "--sort", "id"])
    assert "is no run folder" in failing(["front", finished, "--against", finished / "latency"])
    assert "satisfies these constraints; on the front error is" in failing(["front", finished, "--max", "error=0"], code=1)
    assert main(["front", str(finished), "--columns", "id,error"]) == 0
    assert "cannot limit 'colour'" in failing(["front", finished, "--max", "colour=1"])
    assert "--max takes NAME=VALUE with a number" in failing(["front", finished, "--max", "latency_ms=fast"])
    assert "--max takes NAME=VALUE with a number" in failing(["front", finished, "--max", "latency_ms"])
    assert "--max takes NAME=VALUE with a number" in failing(["front", finished, "--max", "latency_ms=nan"])
    assert "--best must be one of" in failing(["front", finished, "--best", "id"])
    assert "is no run folder" in failing(["front", finished / "latency"])
