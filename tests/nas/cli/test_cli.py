"""The command as a user types it, on one short but real run."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import onnxruntime
import optuna
import pytest
import yaml

import nas
from nas.archive.storage import open_storage
from nas.cli.arguments import build_parser
from nas.cli.command import VERBS, main
from search_spaces import lower

ROOT = Path(__file__).parents[3]
DIGITS = str(ROOT / "experiments" / "digits.yaml")


def test_the_run_folder_is_complete(finished):
    for name in ("experiment.yaml", "supernet.safetensors", "checkpoint", "archive.db", "front.csv", "front.png"):
        assert (finished / name).exists()
    table = json.loads((finished / "latency" / "onnxruntime-1t.json").read_text())
    assert table["fingerprint"]["threads"] == 1
    assert (finished / "latency" / "onnxruntime-1t.csv").exists()
    (exported,) = (finished / "export").iterdir()
    assert {"model.onnx", "parity.json", "subnet.json", "predict.py"} <= {p.name for p in exported.iterdir()}
    assert (finished / "front.png").read_bytes()[:4] == b"\x89PNG"
    onnxruntime.InferenceSession(exported / "model.onnx")


def test_every_network_of_the_front_is_measured(finished):
    front = nas.open_run(finished).front()
    for name in ("error_val", "error_test", "latency_ms", "latency_spread", "latency_ms_predicted", "size_bytes", "macs"):
        assert front[name].notna().all()
    values = front[["cross_entropy_val", "latency_ms", "size_bytes"]].to_numpy()  # 360 errors are ranked by loss
    for row in values:
        assert not ((values <= row).all(axis=1) & (values < row).any(axis=1)).any()
    baselines = nas.open_run(finished).baselines()
    assert len(baselines) == 9
    assert baselines["baseline"].tolist()[0] == "float32 smallest"


def test_running_again_changes_nothing(finished, quick, capsys):
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file() and path.suffix != ".db"}
    assert main(["run", DIGITS, "--out", str(finished), *quick]) == 0
    after = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file() and path.suffix != ".db"}
    assert {path.name for path in before} == {path.name for path in after}
    assert all(before[path] == after[path] for path in before if path.suffix != ".png")
    assert "that are Pareto-optimal among those measured" in capsys.readouterr().out


def test_stages_go_on_alone(run, capsys, failing):
    (run / "front.csv").unlink()
    assert main(["train", str(run)]) == 0
    assert main(["measure", str(run)]) == 0
    assert "mean error" in capsys.readouterr().err
    assert "make it with `hwnas search" in failing(["front", run])
    assert main(["search", str(run)]) == 0
    assert main(["front", str(run)]) == 0


@pytest.mark.parametrize("objectives", [["error", "macs"], ["latency_ms", "size_bytes"]])
def test_any_objectives(run, objectives):
    content = yaml.safe_load((run / "experiment.yaml").read_text())
    content["experiment"]["search"]["objectives"] = objectives
    (run / "experiment.yaml").write_text(yaml.safe_dump(content))
    assert main(["search", str(run)]) == 0
    front = nas.open_run(run).front()
    values = front[[name.replace("error", "cross_entropy_val") for name in objectives]].to_numpy()  # what ranks
    for row in values:
        assert not ((values <= row).all(axis=1) & (values < row).any(axis=1)).any()
    assert front[["error_val", "latency_ms"]].notna().all().all()
    study = optuna.load_study(study_name="error", storage=open_storage(f"sqlite:///{run / 'archive.db'}"))
    assert len(study.trials) > 16  # more than the run before had measured


def test_limits_of_a_search(run, capsys, failing):
    assert main(["search", str(run), "--max", "size_bytes=20000", "--min", "macs=100000"]) == 0
    front = nas.open_run(run).front()
    assert (front["size_bytes"] <= 20000).all()
    assert (front["macs"] >= 100000).all()
    settings = nas.open_run(run).experiment.search
    assert (settings.max, settings.min) == ({"size_bytes": 20000}, {"macs": 100000})
    message = failing(["search", run, "--max", "size_bytes=1"])
    assert "no network satisfies the constraints: size_bytes is at least" in message
    assert "macs is at most" in failing(["search", run, "--set", "search.max={}", "--min", "macs=1e12"])
    errors = nas.open_run(run).front()["error_val"]
    most = float(errors.median())
    assert main(["search", str(run), "--set", "search.max={}", "--set", "search.min={}", "--max", f"error={most}"]) == 0
    assert (nas.open_run(run).front()["error_val"] <= most).all()
    assert "no measured network satisfies the constraints {'max error_val': 1e-06}" in failing(
        ["search", run, "--max", "error=1e-6"]
    )
    assert "search.min must not exceed search.max, but does for ['macs']" in failing(
        ["search", run, "--max", "macs=5", "--min", "macs=6"]
    )
    assert "only keys of `search` and `specialise` can be changed" in failing(["search", run, "--set", "seed=3"])


@pytest.mark.parametrize("strategy", ["nsga2", "exact", "tpe"])
def test_strategies(run, strategy, capsys):
    (run / "archive.db").unlink()
    settings = [f"search.strategy={strategy}", "search.n_measurements=24", "search.batch=8"]
    assert main(["search", str(run), *(word for setting in settings for word in ("--set", setting))]) == 0
    said = capsys.readouterr().out
    assert "24 networks measured" in said
    assert "predictor of the error, ranked by cross-entropy, (" in said
    assert "measure" in said
    assert re.search(r"evolution reached (99|100)\.\d\d % of the exact front of a linear prediction", said)


def test_several_devices(run, capsys, monkeypatch, failing):
    monkeypatch.setenv("COLUMNS", "160")
    content = yaml.safe_load((run / "experiment.yaml").read_text())
    content["experiment"]["devices"]["onnxruntime-2t"] = {"threads": 2}
    content["experiment"]["search"]["objectives"] = ["error", "latency_ms", "latency_ms@onnxruntime-2t"]
    (run / "experiment.yaml").write_text(yaml.safe_dump(content))
    assert "has no latency table" in failing(["search", run])
    assert main(["measure", str(run)]) == 0
    assert (run / "latency" / "onnxruntime-2t.json").exists()
    assert main(["search", str(run)]) == 0
    assert "ms@onnxruntime-2t" in capsys.readouterr().out
    front = nas.open_run(run).front()
    for name in ("latency_ms@onnxruntime-2t", "latency_ms_predicted@onnxruntime-2t"):
        assert (front[name] > 0).all()
    assert (front["latency_spread@onnxruntime-2t"] >= 0).all()
    limit = float(front["latency_ms@onnxruntime-2t"].median())
    assert (
        main(["front", str(run), "--max", f"latency_ms@onnxruntime-2t={limit}", "--best", "latency_ms@onnxruntime-2t"]) == 0
    )
    # A table of few rounds may predict less than that for the smallest network: then it is what was measured that refuses.
    assert "latency_ms@onnxruntime-2t" in failing(["search", run, "--max", "latency_ms@onnxruntime-2t=1e-6"])


def test_a_supernet_that_is_not_whole_is_said_whatever_is_asked(run, failing):
    supernet = run / "supernet.safetensors"
    supernet.write_bytes(supernet.read_bytes()[:-1000])
    for words in (["report", run], ["front", run, "--device", "onnxruntime-1t"], ["search", run]):
        assert "supernet.safetensors' is damaged" in failing(words)
    supernet.unlink()
    for words in (["report", run], ["front", run, "--device", "onnxruntime-1t"], ["search", run]):
        assert "has no trained supernet; train it with" in failing(words)


def test_an_archive_that_is_gone_is_said(run, failing):
    (run / "archive.db").unlink()
    assert "has measured no networks yet" in failing(["report", run])


def test_export(finished, tmp_path, capsys, monkeypatch, failing):
    subnet_id = nas.open_run(finished).front()["id"].iloc[-1]
    target = tmp_path / "model"
    assert main(["export", str(finished), subnet_id, "--to", str(target)]) == 0
    assert "answers equal the supernet's" in capsys.readouterr().out
    subnet = json.loads((target / "subnet.json").read_text())
    assert subnet["id"] == subnet_id
    assert {"error_val", "error_test", "latency_ms", "device"} <= set(subnet["measured"])
    assert "exists already" in failing(["export", finished, subnet_id, "--to", target])
    assert "has measured no subnet 'abc'" in failing(["export", finished, "abc", "--to", tmp_path / "x"])

    def spoiled(graph, weights=None, **settings):
        model = lower(graph, weights, **settings)
        next(node for node in model.graph.node if node.op_type == "Gemm").attribute.append(
            __import__("onnx").helper.make_attribute("alpha", -1.0)
        )
        return model

    monkeypatch.setattr("nas.export.bundle.lower", spoiled)
    message = failing(["export", finished, subnet_id, "--to", tmp_path / "bad"], code=1)
    assert "is not exported" in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_invalid_table_warns_and_stops_only_when_asked(run, capsys, change_table):
    change_table(run, report={"is_valid": False, "reasons": ["it was made up"]})
    assert main(["front", str(run)]) == 0
    assert "NOT VALID: it was made up" in " ".join(capsys.readouterr().err.split())
    assert main(["search", str(run)]) == 0
    for verb in ("measure", "search", "run"):
        assert main([verb, str(run), "--require-valid-table"]) == 1
    change_table(run, report={"is_valid": True, "reasons": []})
    assert main(["measure", str(run), "--require-valid-table"]) == 0


def test_stale_and_damaged_files_are_refused(run, failing, change_table):
    change_table(run, fingerprint={"version": "1.0", "threads": 4})
    message = failing(["search", run])
    assert "was measured elsewhere (threads was 4, is 1; version was 1.0, is" in message
    change_table(run, fingerprint={"version": onnxruntime.__version__, "threads": 1}, space="other")
    assert "the table is of space 'other'" in failing(["search", run])
    table = run / "latency" / "onnxruntime-1t.json"
    table.write_text(table.read_text()[:1000])
    assert "is damaged" in failing(["search", run])
    table.unlink()
    assert "has no latency table; make it with `hwnas measure" in failing(["search", run])
    supernet = run / "supernet.safetensors"
    supernet.write_bytes(supernet.read_bytes()[:5000])
    assert "is damaged or not of hwnas" in failing(["train", run])
    supernet.unlink()
    (run / "checkpoint" / "last.safetensors").write_bytes(b"")
    assert "is damaged or not of hwnas" in failing(["train", run])
    (run / "front.csv").write_text("id\n1\n")
    assert "is damaged" in failing(["front", run])
    (run / "experiment.yaml").write_text("{")
    assert "is damaged" in failing(["front", run])


def test_another_supernet_is_refused_by_the_archive(run, failing):
    from nas.training.checkpoint import load_tensors, save_tensors

    tensors, facts = load_tensors(run / "supernet.safetensors")
    tensors["log_scales"] = tensors["log_scales"] + 0.01
    save_tensors(run / "supernet.safetensors", tensors, facts)
    assert "holds other networks (supernet was" in failing(["search", run])


def test_bad_starts_write_nothing(tmp_path, finished, quick, failing):
    out, damaged = tmp_path / "new", tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"x")
    for change, message in [
        ("space=mobilnet-digits", "unknown search space 'mobilnet-digits' (did you mean 'mobilenet-digits'?)"),
        ("space=mine", "one of your own is FILE.py:NAME"),
        ("data.name=mnist", "unknown data set 'mnist'"),
        ("data.n_val=3", "n_val must leave both sides"),
        ("devices.onnxruntime-1t.backend=tvm9", "unknown runtime 'tvm9'"),
        ("devices.onnxruntime-1t.threads=0", "devices.onnxruntime-1t.threads must be in 1..1024, got 0"),
        ("search.n_measurements=-1", "search.n_measurements must be in 4..1e+06, got -1"),
        ("search.predictors=nope", "unknown predictor 'nope'"),
        ("search.strategy=nope", "unknown search strategy 'nope'"),
        ("search.min.macs=-1", "search.min must be above 0 and finite, got {'macs': -1"),
        ("search.max.size_bytes=1", "no network satisfies"),
        ("training.init_from=gone", "training.init_from: there is no file 'gone'"),
        (f"training.init_from={damaged}", "is damaged or not of hwnas"),
        ("search.noise=-2", "search.noise must be in 0..100, got -2"),
        ("search.max.latency_ms@gpu=1", "got ['latency_ms@gpu']; the devices are ['onnxruntime-1t']"),
        ("more_devices=[{threads: 1}]", "give `devices` alone, not `device` or `more_devices` beside it"),
        ("devices.pi={thread: 1}", "unknown key 'devices.pi.thread' (did you mean 'devices.pi.threads'?)"),
        ("devices.pi=1", "'devices.pi' must hold keys and values, got 1"),
        ("devices={a.b: {}}", "names of devices have no dots, by which --set tells levels; got ['a.b']"),
        ("search.strategy={name: nsga2, options: {popul: 3}}", "has no option 'popul' (did you mean 'population'?)"),
    ]:
        assert message in failing(["run", DIGITS, "--out", out, "--set", change])
        assert not out.exists()
    message = failing(["run", DIGITS, "--out", finished, "--set", "seed=5"])
    assert "holds another experiment" in message
    message = failing(["run", DIGITS, "--out", finished, *quick, "--set", "search.noise=1"])
    assert f"or go on with this one, and change it, by `hwnas run {finished} --set KEY=VALUE`" in message
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("x")
    assert "exists and is no run folder" in failing(["run", DIGITS, "--out", tmp_path / "full"])
    assert "only keys of `search` and `specialise` can be changed" in failing(["train", finished, "--set", "seed=1"])
    assert "give exactly one" in failing(["measure"])
    assert "has no trained supernet; train it with" in failing(["search", prepared(finished, tmp_path)])


def prepared(finished, tmp_path):
    shutil.copytree(finished / "latency", tmp_path / "untrained" / "latency")
    shutil.copy(finished / "experiment.yaml", tmp_path / "untrained")
    return tmp_path / "untrained"


def test_cut_output_and_full_disks_are_no_faults(finished):
    command = [sys.executable, "-m", "nas.cli", "front", str(finished), "--format", "csv"]
    cut = subprocess.run(f"{shlex.join(command)} | head -c 1", shell=True, capture_output=True, text=True, check=True)
    assert "Traceback" not in cut.stderr
    with open("/dev/full", "w") as full:
        lost = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert lost.returncode == 2
    assert "Traceback" not in lost.stderr
    assert "No space left on device" in lost.stderr


def test_cut_and_odd_csv_files_are_refused(run, failing):
    path = run / "front.csv"
    text = path.read_text()
    path.write_text(text[:-20])
    assert "is damaged: it is cut off" in failing(["front", run])
    path.write_text(text.replace("error_test", "error_tset"))
    assert "['error_test'] are not whole" in failing(["front", run])
    path.write_text(text)
    baselines = run / "baselines.csv"
    baselines.write_text(baselines.read_text().replace("baseline", "b", 1))
    assert "['baseline'] are not whole" in failing(["front", run])
    baselines.unlink()
    baselines.mkdir()
    assert "is damaged" in failing(["front", run])


def test_changed_data_are_noticed(run, failing):
    text = (run / "experiment.yaml").read_text()
    (run / "experiment.yaml").write_text(text.replace("n_val: 360", "n_val: 100"))
    assert "is of another training: its data is" in failing(["search", run])


def test_listings(tmp_path, finished, capsys):
    assert main(["spaces"]) == 0
    assert "mobilenet-digits" in capsys.readouterr().out
    (tmp_path / "mobilenet-digits").mkdir()
    shutil.copy(finished / "latency" / "onnxruntime-1t.json", tmp_path / "mobilenet-digits")
    (tmp_path / "mobilenet-digits" / "torn.json").write_text("{")
    assert main(["devices", "--tables", str(tmp_path)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert onnxruntime.__version__ in out
    assert "2 tables in" in out
    assert "mobilenet-digits on onnxruntime-1t" in out
    assert "is damaged" in out


def test_tables_outside_a_run_are_read_again(tmp_path, finished, capsys, failing):
    (tmp_path / "mobilenet-digits").mkdir()
    shutil.copy(finished / "latency" / "onnxruntime-1t.json", tmp_path / "mobilenet-digits")
    assert main(["measure", "--space", "mobilenet-digits", "--tables", str(tmp_path)]) == 0
    assert "mean error" in capsys.readouterr().err
    assert "unknown search space" in failing(["measure", "--space", "x", "--tables", tmp_path])


def test_help_is_quick_and_clear(capsys):
    code = "import sys, nas.cli.command; nas.cli.command.build_parser().format_help(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    for verb in VERBS:
        with pytest.raises(SystemExit) as stop:
            build_parser().parse_args([verb, "--help"])
        assert stop.value.code == 0
        assert "usage: hwnas" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main(["fly"])
    assert stop.value.code == 2
