import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nas
from nas.cli.command import main
from nas.run.experiment import Experiment
from nas.tasks import METRICS
from search_spaces import PREVIOUS, Slot
from tests.onnx_models import saved, small_network

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_list_of_keys_is_fresh(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    import write_experiment_keys

    assert write_experiment_keys.TARGET.read_text() == write_experiment_keys.text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_own_data_as_documented(tmp_path, monkeypatch, capsys):
    """The page's array names and its YAML, on three classes of coloured images of 12 x 12 pixels."""
    text = (ROOT / "docs" / "own-data.md").read_text()
    _, yaml, pictures = re.findall(r"```yaml\n(.*?)```", text, flags=re.S)
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.S)
    rng = np.random.default_rng(0)
    y_train, y_test = np.arange(120) % 3, np.arange(60) % 3
    x_train, x_test = (rng.normal(100 + 20 * y[:, None, None, None], 30, (len(y), 12, 12, 3)) for y in (y_train, y_test))
    monkeypatch.chdir(tmp_path)
    exec(code, {"np": np, "x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test})
    (tmp_path / "mine.yaml").write_text(yaml)
    assert Experiment.from_yaml(tmp_path / "mine.yaml").data.path == "mine.npz"
    (tmp_path / "photos.yaml").write_text(pictures)
    assert Experiment.from_yaml(tmp_path / "photos.yaml").data.options["luminance"] is True
    quick = ["training.float_epochs=1", "training.quantized_epochs=0", "training.warmup_epochs=0"]
    words = ["train", "mine.yaml", "--out", "run", *(word for change in quick for word in ("--set", change))]
    assert main(words) == 0, capsys.readouterr().err
    assert (tmp_path / "run" / "supernet.safetensors").exists()


def test_own_model_as_documented(tmp_path, monkeypatch, capsys):
    """The page's commands and its Python, on a small network."""
    text = (ROOT / "docs" / "own-model.md").read_text()
    commands = [line.split() for part in re.findall(r"```sh\n(.*?)```", text, flags=re.S) for line in part.splitlines()]
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.S)
    samples = np.random.default_rng(0).standard_normal((30, 1, 8, 8)).astype(np.float32)
    monkeypatch.chdir(tmp_path)
    saved(small_network(), tmp_path / "model.onnx")
    np.savez("data.npz", x=samples)
    sets = ("table.rounds=2", "table.seconds=0.001", "table.n_fit=10", "table.n_held_out=10", "search.n_measurements=6")
    quick = [word for change in sets for word in ("--set", change)]
    exec(code.replace('"runs/mine")', '"runs/python", search={"n_measurements": 6}, devices={})'), {"samples": samples})
    (tmp_path / "shipped").rename(tmp_path / "from_python")
    for _, verb, *words in commands:
        words = [nas.open_run("runs/mine").best_id() if word == "ID" else word.strip("'") for word in words]
        assert main([verb, *words, *(quick if verb == "adopt" else [])]) == 0, capsys.readouterr().err
    assert json.loads((tmp_path / "shipped" / "subnet.json").read_text())["adopted"]["original"] == "model.onnx"


def test_own_search_space_as_documented(tmp_path):
    """The family of the page, through every stage, run as the page says."""
    text = (ROOT / "docs" / "own-space.md").read_text()
    code, slot = re.findall(r"```python\n(.*?)```", text, flags=re.S)
    assert eval(slot, {"Slot": Slot, "PREVIOUS": PREVIOUS, "reads": (), "build": dict}).sources[0] == PREVIOUS
    (experiment,) = re.findall(r"```yaml\n(.*?)```", text, flags=re.S)
    assert len(code.splitlines()) < 100
    (tmp_path / "plain.py").write_text(code)
    (tmp_path / "mine.yaml").write_text(experiment)
    changes = ["float_epochs=2", "quantized_epochs=1", "warmup_epochs=0", "compile=false"]
    quick = [f"training.{change}" for change in changes] + ["threads=1", "search.n_measurements=12", "search.batch=8"]
    quick += ["table.n_fit=12", "table.n_held_out=12", "table.rounds=2", "table.seconds=0.002", "table.retry_budget=0"]
    words = ["run", "mine.yaml", "--out", "run", *(word for change in quick for word in ("--set", change))]
    command = [sys.executable, "-m", "nas.cli", *words, "--workers", "2"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (exported,) = (tmp_path / "run" / "export").iterdir()
    assert json.loads((exported / "parity.json").read_text())["integer_mismatches"] == 0
    assert nas.open_run(tmp_path / "run").experiment.space == f"{tmp_path / 'plain.py'}:plain-digits"


def evaluator_page(name):
    blocks = dict(re.findall(r"```python (\w+)\n(.*?)```", (ROOT / "docs" / "own-evaluator.md").read_text(), flags=re.S))
    assert set(blocks) == {"optimize", "supernet"}
    scope = {}
    exec(blocks[name], scope)
    return scope["result"]


@pytest.fixture
def own_metrics(monkeypatch):
    monkeypatch.setattr("nas.tasks.metric.METRICS", dict(METRICS))


def test_own_evaluator_as_documented(capsys, own_metrics):
    result = evaluator_page("optimize")
    assert {"layers", "width", "bits", "accuracy", "cost"} <= set(result.front.columns)
    assert (result.front["cost"] <= 200_000).all()
    best = result.front.sort_values("cost")["accuracy"].to_numpy()
    assert (best[1:] > best[:-1]).all()  # what costs more is more accurate
    assert len(result.archive) == 20
    assert (result.archive["minutes"] == 1).all()
    assert [subnet.options["bits"] for subnet in result.subnets] == result.front["bits"].tolist()
    assert nas.plot(result).png[:4] == b"\x89PNG"
    assert "accuracy" in capsys.readouterr().out


def test_own_supernet_as_documented(own_metrics):
    result = evaluator_page("supernet")
    front = result.front.sort_values("parameters")
    assert front["wrong"].iloc[-1] < 20
    assert front["parameters"].iloc[0] < front["parameters"].iloc[-1] / 2
