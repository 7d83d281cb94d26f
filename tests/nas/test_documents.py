"""Every command in README and docs, on one short but real run."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

import nas
from nas.cli import main

ROOT = Path(__file__).parents[2]


def readme_commands():
    text = "\n".join(path.read_text() for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))])
    blocks = re.findall(r"```(?:sh|bash|console)\n(.*?)```", text, flags=re.S)
    return sorted(
        {line.split("  #")[0].strip() for block in blocks for line in block.splitlines() if line.startswith("hwnas ")}
    )


@pytest.mark.parametrize("command", readme_commands())
def test_commands_of_the_documents_run(command, run, tmp_path, monkeypatch, capsys, quick):
    front = nas.open_run(run).front()
    words = [word.replace("ID", front["id"].iloc[0]) if word == "ID" else word for word in shlex.split(command)[1:]]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    run.rename(tmp_path / "runs" / "digits")
    shutil.copytree(ROOT / "experiments", tmp_path / "experiments")
    if "--against" in words:
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
