"""Adoption end to end on a small ONNX file: table, bank, prices, search, front, export, verify; stopped and gone on."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

import nas
from nas.cli import main
from nas.ptq.doors import stored_model
from nas.ptq.importing import import_model
from nas.ptq.settings import AdoptSettings
from nas.run.adoption import Adoption
from search_spaces.errors import InvalidInputError, NotReadyError, VerificationError
from search_spaces.importing import patterns
from tests.onnx_models import model, node, saved, small_network

QUICK = {
    "table": {"rounds": 2, "seconds": 0.001, "retry_budget": 0, "n_fit": 10, "n_held_out": 10},
    "search": {"n_measurements": 10},
    "threads": 1,
}
WITHOUT_TORCH = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ImportError("no torch here")
sys.meta_path.insert(0, Refuse())
from nas.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A model, samples of it with labels, and a folder."""
    folder, rng = tmp_path_factory.mktemp("adoption"), np.random.default_rng(0)
    saved(small_network(), folder / "small.onnx")
    x = rng.standard_normal((48, 1, 8, 8)).astype(np.float32)
    np.savez(folder / "data.npz", x=x, labels=rng.integers(0, 10, 48))
    return folder


def experiment(files, **changes):
    settings = {"model": str(files / "small.onnx"), "samples": str(files / "data.npz"), **changes}
    return {"name": "small", "adopt": settings, **QUICK}


@pytest.fixture(scope="module")
def adopted(files):
    """A run that was gone through."""
    run = Adoption.create(experiment(files), files / "run")
    run.run()
    return run


def test_the_front_is_measured_in_divergence_and_the_original_diverges_by_nothing(adopted):
    front, uniform = adopted.front(), adopted.baselines().set_index("baseline")
    assert list(uniform.index) == ["float32", "w8a8", "w4a8"]
    assert {"divergence_val", "divergence_test", "error_val", "error_test", "latency_ms", "size_bytes"} <= set(front)
    assert uniform.loc["float32", "divergence_val"] < 1e-9 < uniform.loc["w8a8", "divergence_val"]
    assert uniform.loc["w8a8", "divergence_val"] < uniform.loc["w4a8", "divergence_val"]
    assert adopted.knee_id() in set(front["id"])
    assert adopted.folder.report.read_text().count("divergence")


def test_without_labels_nothing_is_called_an_error(files):
    run = nas.adopt(files / "small.onnx", {"x": np.load(files / "data.npz")["x"]}, files / "bare", name="bare", **QUICK)
    run.measure()
    run.search()
    assert not [name for name in run.front() if "error" in name]
    assert isinstance(nas.open_run(files / "bare"), Adoption)


def test_what_was_made_is_not_made_again(adopted, monkeypatch):
    again = nas.open_run(adopted.folder.path)
    monkeypatch.setattr(again, "_repaired", None)
    monkeypatch.setattr("nas.objectives.adopted_evaluator.outputs_of", None)
    again.measure()
    again.search()
    assert again.front().equals(adopted.front())


def test_a_bank_or_prices_that_were_torn_are_made_again(adopted):
    bank, prices = (adopted.folder.path / name for name in ("bank.npz", "sensitivity.json"))
    note, losses = bank.with_suffix(".json"), json.loads(prices.read_text())
    digest = dict(adopted.bank.scales)
    note.unlink()
    assert dict(nas.open_run(adopted.folder.path).bank.scales) == digest
    losses["losses"].popitem()
    prices.write_text(json.dumps(losses))
    nas.open_run(adopted.folder.path).price()
    assert len(json.loads(prices.read_text())["losses"]) == len(losses["losses"]) + 1
    bank.write_bytes(b"PK")
    assert dict(nas.open_run(adopted.folder.path).bank.scales) == digest


def test_an_export_is_proved_runs_alone_and_is_verified_with_its_original(adopted, files, capsys):
    subnet = str(adopted.baselines().set_index("baseline").loc["w4a8", "id"])
    found = adopted.export(subnet, files / "shipped", int4=True)
    assert found.verification["elements"] > 1000
    assert found.verification["operators"]["QLinearConv"] == 2
    assert found.verification["operators"].get("FusedConv", 0) == 0
    np.savez(files / "flat.npz", x=np.zeros((2, 64)))
    np.savez(files / "double.npz", x=np.zeros((2, 1, 8, 8)))
    np.savez(files / "scalar.npz", x=1.0)
    (files / "empty.npz").write_bytes(b"")
    (files / "cut.npz").write_bytes((files / "double.npz").read_bytes()[:200])
    for given, words in [
        ([], "the samples give what they gave"),
        (["double.npz"], "(2, 1, "),
        (["flat.npz"], "'x' must be of shape ('samples', 1, 8, 8), got (2, 64)"),
        *(
            ([f], "must be an .npz file with arrays called x: ")
            for f in ("small.onnx", "scalar.npz", "empty.npz", "cut.npz")
        ),
    ]:
        command = [sys.executable, str(files / "shipped" / "predict.py"), *(str(files / name) for name in given)]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        assert words in ran.stdout + ran.stderr
        assert "Traceback" not in ran.stderr
    assert main(["verify", str(files / "shipped"), "--data", str(files / "small.onnx")]) == 0
    assert f"{found.verification['elements']} integers, 4 samples" in capsys.readouterr().out
    assert main(["bench", str(files / "shipped"), "--rounds", "2"]) == 0
    other = saved(small_network(np.random.default_rng(1)), files / "other.onnx")
    assert main(["verify", str(files / "shipped"), "--data", str(other)]) == 2
    assert "is not the model that" in capsys.readouterr().err
    card = (files / "shipped" / "README.md").read_text()
    assert "of `small.onnx`" in card
    assert "16 calibrated, 16 chose, 16 tested; no sample did two of these" in " ".join(card.split())
    with pytest.raises(InvalidInputError, match="there is no dynamic_batch"):
        adopted.export(subnet, files / "more", dynamic_batch=True)


@pytest.mark.serial
def test_the_command_needs_no_torch(files):
    words = [
        "adopt",
        files / "small.onnx",
        "--samples",
        files / "data.npz",
        "--out",
        files / "command",
        "--max",
        "latency_ms=50",
    ]
    sets = ["table.rounds=2", "table.seconds=0.001", "table.n_fit=10", "table.n_held_out=10", "search.n_measurements=6"]
    words += [word for each in sets for word in ("--set", each)]

    def hwnas(*arguments):
        command = [sys.executable, "-c", WITHOUT_TORCH, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    first = hwnas(*words)
    assert first.returncode == 0, first.stderr
    assert "100.0 % of these and 96.6 % of the weights have integer forms" in " ".join(first.stdout.split())
    assert "integers on 4 samples equal the reference" in first.stdout
    front = hwnas("front", files / "command", "--format", "csv", "--sort", "divergence_val")
    assert front.stdout.count("\n") > 2
    assert hwnas(*words).returncode == 0, "a second time everything is there"


def test_a_floor_is_bisected(files, monkeypatch):
    run = Adoption.create({**experiment(files, floor={"divergence": 1e-4}), "devices": {}}, files / "floor")
    asked = []
    measure = run.evaluator.measure
    monkeypatch.setattr(run.evaluator, "measure", lambda genomes: asked.append(len(genomes)) or measure(genomes))
    from nas.run.stages.adopt import bisect
    from search_spaces import cost_table

    cost = cost_table(run.space, "size_bytes")
    found = bisect(run, run.price())
    assert len(asked) <= np.log2(run.space.size) + 2
    assert run.evaluator.measure(found[None])["divergence"] <= 1e-4
    everything = np.indices((3, 3, 3)).reshape(3, -1).T.astype(np.int16)
    assert run.floor_id() == run.space.subnet(found).id
    reaching = everything[run.evaluator.measure(everything)["divergence"] <= 1e-4]
    assert cost(found[None]) <= 1.3 * cost(reaching).min()


@pytest.mark.parametrize("choose", ["strategy", "programming"])
def test_other_ways_of_choosing(files, choose):
    run = Adoption.create(experiment(files, choose=choose), files / choose)
    run.measure()
    assert len(run.search().genomes) == 10


def test_a_torch_module_comes_in_with_its_names(files):
    pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    body = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, padding=1, bias=False), torch.nn.BatchNorm2d(4, eps=1e-3), torch.nn.SiLU()
    )
    module = torch.nn.Sequential(body, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 3)).eval()
    images = torch.randn(24, 1, 8, 8)
    run = nas.adopt(module, images, files / "torch", name="torch", **{**QUICK, "devices": {}})
    assert [choice.name for choice in run.space.choices] == ["0/format", "3/format"]
    with torch.no_grad():
        np.testing.assert_allclose(
            run.references["val"]["linear"], module(torch.from_numpy(run.samples.val["input"])), atol=1e-6
        )
    run.search()
    assert len(run.front()) > 1
    with pytest.raises(InvalidInputError, match=r"call `module.eval\(\)` first"):
        nas.adopt(module.train(), images, files / "training")


def test_doors_that_stay_shut(files, tmp_path):
    for name in ("weights.pth", "model.pkl"):
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(InvalidInputError, match="is a pickle, which runs whatever it holds and is never loaded"):
            stored_model(str(tmp_path / name))
    (tmp_path / "mine.py").write_text("def build():\n    return 3\n")
    with pytest.raises(InvalidInputError, match="must give a torch module and a tuple of its inputs, got int"):
        stored_model(f"{tmp_path / 'mine.py'}:build")
    with pytest.raises((InvalidInputError, NotReadyError)):
        stored_model(str(saved(small_network(), tmp_path / "program.pt2")))


def test_another_model_under_the_same_run_is_refused(adopted, files):
    file = files / "small.onnx"
    before = file.read_bytes()
    try:
        saved(small_network(np.random.default_rng(2)), file)
        with pytest.raises(InvalidInputError, match="was made of another model than"):
            Adoption.create(experiment(files), files / "run")
    finally:
        file.write_bytes(before)


def test_a_wrong_pattern_is_named_and_left_out(files, monkeypatch, caplog):
    def wrong(program):
        n = patterns.global_pool(program)
        for op in program.ops:
            if op.kind == "GlobalAveragePool":
                op.inputs = [program.ops[0].output]
        return n

    monkeypatch.setitem(patterns.PATTERNS._entries, "global_pool", wrong)
    _, check = import_model(AdoptSettings(model=str(files / "small.onnx")))
    assert check.left_out == ("global_pool",)
    assert "as read with pattern global_pool the model differs" in caplog.text
    monkeypatch.setattr("nas.ptq.importing.TOLERANCE", -1.0)
    with pytest.raises(VerificationError, match="whatever pattern is left out"):
        import_model(AdoptSettings(model=str(files / "small.onnx")))


def test_mostly_unknown_models_need_a_word(tmp_path):
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(0, 0.1, shape).astype(np.float32) for name, shape in (("w", (1, 64, 8)), ("r", (1, 64, 16)))}
    constants = {**weights, "k": rng.normal(0, 1, (4, 1)).astype(np.float32).reshape(4, 1), "axis": np.array([1])}
    nodes = [
        onnx.helper.make_node("LSTM", ["x", "w", "r"], ["y", "h", ""], name="lstm", hidden_size=16),
        node("Squeeze", ["h", "zero"], "s"),
        node("MatMul", ["s", "small"], "z"),
    ]
    constants |= {"zero": np.array([0]), "small": rng.normal(0, 1, (16, 2)).astype(np.float32)}
    file = saved(model(nodes, {"x": (5, 1, 8)}, ["z"], constants), tmp_path / "lstm.onnx")
    with pytest.raises(InvalidInputError, match=r"only \d % of the work is in operators that are known \(not: LSTM\)"):
        import_model(AdoptSettings(model=str(file)))
    adopted, check = import_model(AdoptSettings(model=str(file), accept_opaque=True))
    assert check.difference <= 1e-5
    assert len(adopted.space.choices) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--shape", "x"], "--shape takes NAME=VALUE"),
        (["--shape", "x=1,a"], "--shape takes whole numbers"),
        (["--max", "latency_ms=fast"], "--max takes numbers"),
        (["--preset", "mars"], "there is no preset 'mars'; known: imagenet, tensorflow"),
        (["--formats", "tail=w8a8"], "no group is called 'tail'"),
        (["--formats", "stem*=w9a9"], "a format is"),
        (["--set", "adopt.rounding=up"], "unknown rounding 'up'"),
        (["--set", "adopt.outputs={z: 1}"], "the model has no output"),
        (["--max", "error_drop=1", "--samples", "BARE"], "error_drop needs labels"),
    ],
)
def test_bad_words_end_in_one_sentence(files, tmp_path, capsys, arguments, words):
    np.savez(tmp_path / "bare.npz", x=np.load(files / "data.npz")["x"])
    arguments = [str(tmp_path / "bare.npz") if each == "BARE" else each for each in arguments]
    samples = [] if "--samples" in arguments else ["--samples", str(files / "data.npz")]
    quick = [
        "--set",
        "table.rounds=2",
        "--set",
        "table.seconds=0.001",
        "--set",
        "table.n_fit=10",
        "--set",
        "table.n_held_out=10",
    ]
    command = ["adopt", str(files / "small.onnx"), "--out", str(tmp_path / "run"), *samples, *quick, *arguments]
    assert main(command) in (1, 2)
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith("hwnas: ")
    assert words in told


def test_samples_are_needed(files, tmp_path, capsys):
    assert main(["adopt", str(files / "small.onnx"), "--out", str(tmp_path / "run")]) == 2
    assert "samples are needed" in capsys.readouterr().err
    assert not Path(tmp_path / "run").exists()


def test_the_verbs_of_training_send_on_to_adopt(adopted, capsys):
    for verb in ("run", "train", "search"):
        assert main([verb, str(adopted.folder.path)]) == 2
        assert "is of a model that was trained elsewhere: `hwnas adopt" in capsys.readouterr().err
    assert main(["adopt", str(adopted.folder.path), "--samples", "other.npz"]) == 2
    assert "--samples go with a model" in capsys.readouterr().err


def test_restricted_formats_are_exported_and_verified(files, capsys):
    settings = {"formats": {"stem*": ["float32"], "body*": ["float32", "w4a8"], "head*": ["float32", "w4a8"]}}
    run = Adoption.create({**experiment(files, **settings), "devices": {}}, files / "restricted")
    run.search()
    run.export(run.best_id(), files / "restricted-shipped")
    words = ["verify", str(files / "restricted-shipped"), "--data", str(files / "small.onnx")]
    assert main(words) == 0, capsys.readouterr().err


def test_a_first_mistake_leaves_no_folder(files, capsys):
    proto = small_network()
    proto.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    saved(proto, files / "open.onnx")
    words = ["adopt", str(files / "open.onnx"), "--samples", str(files / "data.npz"), "--out", str(files / "opened")]
    assert main(words) == 2
    assert "say it by --shape x=1" in capsys.readouterr().err
    assert not (files / "opened").exists()


def test_other_samples_under_the_same_run_are_refused(files):
    x = np.load(files / "data.npz")["x"]
    nas.adopt(files / "small.onnx", {"x": x}, files / "samples", name="samples", **QUICK)
    with pytest.raises(InvalidInputError, match="was made with other samples than are given now"):
        nas.adopt(files / "small.onnx", {"x": x + 1}, files / "samples", name="samples", **QUICK)


def test_a_self_check_takes_no_number_for_one(files):
    from nas.ptq import importing

    assert importing._difference(np.array([np.nan]), np.array([1.0])) == np.inf
    assert importing._difference(np.array([True]), np.array([False])) == 1.0


def test_a_layer_that_a_relu_and_a_sum_take_is_in_integers(tmp_path, rng):
    weights = {f"w{i}": rng.normal(0, 0.3, (4, 4, 3, 3)).astype(np.float32) for i in range(3)}
    nodes = [
        node("Conv", ["x", "w0"], "c", "/b/Conv0", pads=[1] * 4),
        node("Relu", ["c"], "r", "/b/Relu"),
        node("Conv", ["r", "w1"], "d", "/b/Conv1", pads=[1] * 4),
        node("Add", ["d", "c"], "s", "/b/Add"),
        node("Conv", ["s", "w2"], "y", "/b/Conv2", pads=[1] * 4),
    ]
    file = saved(model(nodes, {"x": (1, 4, 6, 6)}, ["y"], weights), tmp_path / "preactivated.onnx")
    x = rng.standard_normal((24, 4, 6, 6)).astype(np.float32)
    run = nas.adopt(file, {"x": x}, tmp_path / "run", name="preactivated", **{**QUICK, "devices": {}})
    run.search()
    w8a8 = run.baselines().set_index("baseline").loc["w8a8", "id"]
    assert run.export(w8a8).verification["operators"]["QLinearConv"] == 3
