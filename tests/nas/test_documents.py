"""Every command in README and docs, on one short but real run."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml

import nas
from latency_tables.device import Device
from nas.cli.command import main
from nas.run.experiment import Experiment

ROOT = Path(__file__).parents[2]


def blocks(languages, *paths):
    """The blocks of code in some languages, as `sh|bash`, of some pages."""
    text = "\n".join(path.read_text() for path in paths)
    return re.findall(rf"```(?:{languages})\n(.*?)```", text, flags=re.S)


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ADOPTED = re.compile(r"hwnas adopt|runs/mine|shipped")  # run by tests/test_docs.py, on a model of their own


def readme_commands():
    found = blocks("sh|bash|console", *PAGES)
    lines = {
        line.split("  #")[0].strip()
        for block in found
        for line in block.splitlines()
        if line.startswith("hwnas ") and not ADOPTED.search(line)
    }
    # A whole table is timed by some, on two threads.
    return [
        pytest.param(line, marks=[pytest.mark.serial] * line.startswith("hwnas measure --space")) for line in sorted(lines)
    ]


@pytest.mark.parametrize("text", blocks("yaml", *PAGES))
def test_settings_of_the_documents_are_understood(text):
    content = yaml.safe_load(text)
    if "backend" in content:
        Device(**content)
    else:
        for own in ("space", "plugins"):  # the document's own ones are run elsewhere
            content.pop(own, None)
        Experiment.from_dict({"name": "x", **content}, "a document")


def test_python_of_the_readme_runs(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    run.rename(tmp_path / "runs" / "digits")
    best = nas.open_run("runs/digits").front()["id"].iloc[0]
    assert main(["export", "runs/digits", best, "--to", "my_model"]) == 0
    scope = {}
    for text in blocks("python", ROOT / "README.md"):
        exec(text, scope)
    assert (scope["front"]["latency_ms"] <= 0.05).all()
    assert 0 <= scope["answer"] < 10


@pytest.mark.parametrize("command", readme_commands())
def test_commands_of_the_documents_run(command, run, tmp_path, monkeypatch, capsys, quick):
    front = nas.open_run(run).front()
    words = [word.replace("ID", front["id"].iloc[0]) if word == "ID" else word for word in shlex.split(command)[1:]]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    run.rename(tmp_path / "runs" / "digits")
    shutil.copytree(ROOT / "experiments", tmp_path / "experiments")
    if "runs/other" in command:
        shutil.copytree("runs/digits", "runs/other")
    if "raspberry-pi-5" in words:
        shutil.copy("runs/digits/latency/onnxruntime-1t.json", "runs/digits/latency/raspberry-pi-5.json")
    if "dashboard" in words:
        pytest.importorskip("optuna_dashboard")
        monkeypatch.setattr("wsgiref.simple_server.WSGIServer.serve_forever", lambda server: None)
    if words[0] in ("verify", "bench"):
        assert main(["export", "runs/digits", front["id"].iloc[0], "--to", "my_model"]) == 0
    if "experiments/digits.yaml" in words:
        words += quick
    if "--space" in words:
        (tmp_path / "tables" / "mobilenet-digits").mkdir(parents=True)
        shutil.copy(tmp_path / "runs/digits/latency/onnxruntime-1t.json", tmp_path / "tables" / "mobilenet-digits")
        words += ["--tables", str(tmp_path / "tables"), "--rounds", "2"]
    assert main(words) == 0, capsys.readouterr().err
