"""A language model from its text to the file that writes some, and one that was trained elsewhere."""

import copy
import csv
import json
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch

import nas
from nas.cli.command import main
from nas.export.min_runtime import min_onnxruntime
from nas.export.targets.language import LANGUAGE_TARGETS, compare
from nas.export.verification.language import check_operators
from nas.export.verification.network import Network, serving_graph
from nas.export.verification.token_session import TokenSession
from nas.export.verification.weights import weights_of
from nas.objectives.noise import paired_noise
from nas.run.latencies import import_results, time_all
from nas.run.noise import noise_of
from nas.run.run import Run
from nas.run.stages.finetune import finetune
from nas.supernet.deploy import extract, fold
from search_spaces.errors import InvalidInputError, NotReadyError
from search_spaces.lowering import AXES, lower
from search_spaces.space.baselines import uniform_genome
from tests.llama_models import TEXT, write_folder

QUICK = {
    "threads": 1,
    "task": "language",
    "space": "decoder-tiny",
    "formats": ["float32", "w8a8", "w4a32-g32", "w4a8d-g32", "kv8"],
    "training": {
        "optimizer": "adam",
        "learning_rate": 0.003,
        "quantized_learning_rate": 0.001,
        "float_epochs": 1,
        "quantized_epochs": 1,
        "warmup_epochs": 0,
        "compile": False,
        "n_random": 0,
        "error_feedback": True,
    },
    "table": {"n_fit": 10, "n_held_out": 10, "rounds": 2, "seconds": 0.002, "retry_budget": 0.0},
    "search": {"n_measurements": 16, "batch": 8, "n_calibration": 8},
}
TABLE = ["table.n_fit=10", "table.n_held_out=10", "table.rounds=2", "table.seconds=0.002", "table.retry_budget=0"]


@pytest.fixture(scope="session")
def text(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    for i in range(60):
        (folder / f"{i}.txt").write_text(f"{i}: {TEXT[: 300 + i]}")
    return folder


@pytest.fixture(scope="session")
def finished(built_once, text):
    def build(folder):
        data = {"name": "text", "path": str(text), "options": {"context": 32}, "n_val": 8}
        Run.create({"name": "lm", "data": data, **QUICK}, folder / "run").run()

    return built_once("language", build) / "run"


@pytest.fixture(scope="session")
def exported(built_once, finished):
    def build(folder):
        run = Run.open(finished)
        run.export(run.best_id(), folder / "lm")

    return built_once("language-export", build) / "lm"


def test_a_run_has_two_latencies(finished):
    run = Run.open(finished)
    front = run.front()
    assert {"bits_per_byte_val", "decode_ms", "decode_spread", "decode_ms_predicted", "prefill_ms", "size_bytes"} <= set(
        front
    )
    assert [table.device for table in run.tables()] == ["onnxruntime-1t@decode", "onnxruntime-1t@prefill"]
    assert run.folder.objectives == ["bits_per_byte_val", "decode_ms", "prefill_ms", "size_bytes"]
    assert run.front(max={"decode_ms": float(front["decode_ms"].min())}).shape[0] == 1
    assert "decode_ms" in run.report().read_text()
    assert len(run.plot().figure.axes) == 3


def test_noise_is_found_by_pairs_of_windows(finished):
    found = json.loads((finished / "noise.json").read_text())
    run = Run.open(finished)
    assert 0 < found["noise"] < 0.1
    evaluator = run.evaluator()
    first, *others = (run.space.subnet(uniform_genome(run.space, "largest", name)) for name in QUICK["formats"][:-1])
    assert paired_noise(evaluator, first, [first], seed=0) == 0
    assert paired_noise(evaluator, first, others, seed=0) == found["noise"]
    differences = evaluator.scores(others[0], "val")["bits_per_byte"] - evaluator.scores(first, "val")["bits_per_byte"]
    expected = 2 * differences.std() / np.sqrt(len(differences))
    assert paired_noise(evaluator, first, others[:1], seed=0) == pytest.approx(expected, rel=0.1)
    fixed = replace(run.experiment, search=replace(run.experiment.search, noise=0.01))
    assert noise_of(SimpleNamespace(experiment=fixed), evaluator, "") == 0.01


def test_matrices_of_four_bits_are_kept_as_they_were_rounded_after_training(finished):
    run = Run.open(finished)
    supernet, graph = run.evaluator().supernet, run.space.subnet(uniform_genome(run.space, "largest", "w4a8d-g32")).graph
    kept = supernet.groups.tensors()
    assert {name.split(":")[1] for name in kept} >= {"w4a32-g32", "w4a8d-g32"}
    name = "layer1/mlp/gate"
    node = graph[name]
    assert torch.equal(supernet.groups.get(node)[f"{name}/weight"], kept[f"groups:w4a8d-g32:{name}/weight"])
    other = copy.deepcopy(supernet)  # which rounds to the nearest
    assert not torch.equal(other.groups.get(node)[f"{name}/weight"], kept[f"groups:w4a8d-g32:{name}/weight"])


def test_what_is_done_after_training_changes_no_checkpoint(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    settings = tmp_path / "run" / "experiment.yaml"
    settings.write_text(settings.read_text().replace("error_feedback: true", "error_feedback: false"))
    (tmp_path / "run" / "supernet.safetensors").unlink()
    assert main(["train", str(tmp_path / "run")]) == 0
    supernet = Run.open(tmp_path / "run").evaluator().supernet
    assert not supernet.groups.tensors()
    before = Run.open(finished).evaluator().supernet
    assert all(torch.equal(one, other) for one, other in zip(supernet.parameters(), before.parameters(), strict=True))


def test_what_is_trained_on_is_rounded_with_error_feedback_again(finished, tmp_path):
    run = Run.open(finished)
    evaluator = run.evaluator()
    subnet = run.space.subnet(uniform_genome(run.space, "middle", "w4a8d-g32"))
    plan = {"epochs": 1, "learning_rate": 1e-4, "seed": 0, "checkpoint": tmp_path / "c", "identity": {}}
    finetune(evaluator, subnet, run.folder.schedule, **plan)
    node = subnet.graph["layer1/mlp/gate"]
    found = evaluator.supernet.groups.get(node)["layer1/mlp/gate/weight"]
    nearest = copy.deepcopy(evaluator.supernet).groups.get(node)["layer1/mlp/gate/weight"]
    assert found.shape == nearest.shape == node.spec_of["weight"].shape
    assert 0 < (found != nearest).float().mean() < 0.5


def test_a_further_device_by_its_table_is_refused(finished, failing):
    assert "have a table for each phase" in failing(["front", finished, "--device", "pi"])


def test_a_bundle_carries_both_phases(text, tmp_path):
    board = {**QUICK, "devices": {"board": {"remote": True}}}
    data = {"name": "text", "path": str(text), "options": {"context": 32}, "n_val": 8}
    run = Run.create({"name": "lm", "data": data, **board}, tmp_path / "run")
    names = ["board@decode", "board@prefill"]

    def times(bundle, out):
        subprocess.run([sys.executable, bundle, "--out", out], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
        return str(tmp_path / out)

    assert main(["measure", str(run.folder.path), "--pack", str(tmp_path / "bundle.zip")]) == 0
    result = times(tmp_path / "bundle.zip", "table.json")
    assert [table.device for table in run.import_results(result)] == names
    assert [table.device for table in run.import_results(result, again=True)] == names
    (run.folder.path / "latency" / "board@prefill.json").unlink()
    assert [table.device for table in run.import_results(result)] == names[1:]
    subnets = [run.space.subnet(genome) for genome in run.space.sample(3, np.random.default_rng(0))]
    genomes = np.array([subnet.genome for subnet in subnets])
    with pytest.raises(NotReadyError, match="3 networks near the front must be timed on the device 'board'"):
        time_all(run.latencies, genomes, {})
    result = times(run.folder.path / "latency" / "board.front.zip", "front.json")
    arguments = {"owner": "run", "again": False, "measured": lambda: genomes}
    assert [table.device for table in import_results(run.latencies, tmp_path / result, **arguments)] == names
    found = time_all(run.latencies, genomes, {})
    for latencies in run.latencies:  # by other means: a file for each phase, which names its models
        run.archives.drop(f"latency {latencies.table.name}")
    run = Run.open(run.folder.path)
    with zipfile.ZipFile(run.folder.path / "latency" / "board.front.zip") as bundle:
        for i, phase in enumerate(("prefill", "decode"), 1):
            rows = list(csv.DictReader(bundle.read(f"parts-{phase}.csv").decode().splitlines()))
            with (tmp_path / f"{phase}.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, rows[0])
                writer.writeheader()
                writer.writerows(row | {"latency_ms": str(i)} for row in rows)
            (taken,) = import_results(run.latencies, tmp_path / f"{phase}.csv", **arguments)
            assert taken.device == f"board@{phase}"
    assert {column.name: float(values[0]) for column, values in time_all(run.latencies, genomes, {}).items()} == {
        "decode_ms": 2.0,
        "decode_spread": 0.0,
        "prefill_ms": 1.0,
        "prefill_spread": 0.0,
    }
    assert {column.name for column in found} >= {"decode_ms", "prefill_ms"}
    assert all(np.isfinite(values).all() for values in found.values())


def test_the_exported_folder_writes_text_without_torch(exported):
    blocked = "import sys, runpy; sys.modules['torch'] = None; runpy.run_path(sys.argv.pop(1), run_name='__main__')"
    program = str(exported / "generate.py")

    def generate(*words):
        return subprocess.run([sys.executable, "-c", blocked, program, *words], capture_output=True, text=True, timeout=120)

    assert generate("--check").returncode == 0
    assert "was not trained to be spoken to" in generate("hello", "--chat").stderr
    first, again = (generate("the quick", "--seed", "3", "--tokens", "12").stdout for _ in range(2))
    assert first == again
    assert first.startswith("the quick")
    assert generate("the", "--temperature", "0", "--tokens", "9", "--stop", "e").returncode == 0
    for odd in ("--temperature=nan", "--top-k=-1", "--seed=-1"):
        assert "must be 0 or more" in generate("x", odd).stderr
    long = generate("x" * 40)
    assert long.returncode == 1
    assert "the prompt has 41 tokens" in long.stderr
    assert {p.name for p in exported.iterdir()} >= {
        "model.onnx",
        "tokenizer.json",
        "subnet.json",
        "parity.json",
        "README.md",
    }


def test_an_exported_folder_is_verified_and_timed(exported, text, capsys):
    assert main(["verify", str(exported), "--data", str(text)]) == 0
    assert main(["bench", str(exported), "--rounds", "2"]) == 0
    out = capsys.readouterr().out
    assert all(part in out for part in ("operators, ", ": prefill, ", ": decode, ", "; its export recorded "))
    subnet = json.loads((exported / "subnet.json").read_text())
    assert subnet["context"] == 32
    assert subnet["costs"]["kv_cache_bytes"] > 0


def test_what_is_so_anyway_is_refused(finished, failing):
    run = Run.open(finished)
    message = failing(["export", finished, run.best_id(), "--to", finished.parent / "x", "--int4"])
    assert "packs its weights anyway: leave out --int4" in message


@pytest.mark.parametrize("target", ["portable", "openvino"])
@pytest.mark.parametrize("scheme", ["float32", "w8a8", "w4a32-g32", "w4a8d-g32"])
def test_a_file_for_other_runtimes_answers_as_the_network_does(finished, tmp_path, target, scheme):
    if target == "openvino":
        pytest.importorskip("openvino")
    run = Run.open(finished)
    genome = uniform_genome(run.space, "largest", scheme)
    if scheme == "w4a8d-g32":
        genome[[choice.name for choice in run.space.choices].index("cache_bits")] = 0
    subnet = run.space.subnet(genome)
    evaluator = run.evaluator()
    weights = extract(evaluator.supernet, subnet.graph, evaluator.calibrate(subnet.graph))
    serving = serving_graph(subnet)
    model = lower(serving, weights, sequence=AXES, portable=True)
    assert {each.domain for each in model.opset_import} == {""}
    LANGUAGE_TARGETS.get(target).write(model, tmp_path)
    windows = run.data.test["tokens"][:3]
    found = compare(target, tmp_path, subnet, weights, windows, 8)
    assert not found.reasons
    assert found.is_exact == (scheme in ("float32", "w4a32-g32"))
    other = {name: array * 1.5 if name.endswith("weight_scale") else array for name, array in weights.items()}
    assert bool(compare(target, tmp_path, subnet, other, windows, 8).reasons) == (scheme != "float32")
    with pytest.raises(InvalidInputError, match="takes one text and any number of tokens"):
        lower(serving, weights, portable=True)


def test_a_portable_file_is_exported_beside_the_other(finished, text, tmp_path, capsys, monkeypatch):
    run = Run.open(finished)
    assert main(["export", str(finished), run.best_id(), "--to", str(tmp_path / "lm"), "--target", "portable"]) == 0
    assert "portable: " in capsys.readouterr().out
    found = json.loads((tmp_path / "lm" / "parity.json").read_text())["targets"]["portable"]
    assert found["windows"] == 4
    onnx.checker.check_model(tmp_path / "lm" / "portable.onnx", full_check=True)
    assert "`portable.onnx`" in (tmp_path / "lm" / "README.md").read_text()
    monkeypatch.setattr("nas.export.verification.verify_language.compare", lambda *of: SimpleNamespace(reasons=("x",)))
    assert main(["verify", str(tmp_path / "lm"), "--data", str(text)]) == 1
    assert "portable: x" in capsys.readouterr().err


def answers_of_file(run, genome):
    """Return session, trained network and what it answers for some windows."""
    evaluator, space = run.evaluator(), run.space
    graph = space.subnet(genome).graph
    calibration = evaluator.calibrate(graph)
    weights = extract(evaluator.supernet, graph, calibration)
    model = lower(space.at("prefill").build(genome), weights, sequence=AXES).SerializeToString()
    return TokenSession(model, 32), Network(graph, fold(evaluator.supernet, graph, calibration), 8)


@pytest.mark.parametrize("scheme", ["float32", "w8a8", "w4a32-g32", "w4a8d-g32"])
def test_no_token_sees_later_ones(finished, scheme):
    run = Run.open(finished)
    session, network = answers_of_file(run, uniform_genome(run.space, "middle", scheme))
    window = run.data.val["tokens"][:1].copy()
    first = network.answers(window)
    window[0, 20] = (window[0, 20] + 1) % 256
    other = network.answers(window)
    assert (first[0, :20] == other[0, :20]).all()
    assert (first[0, 20] != other[0, 20]).any()
    before = session.answers(window[0])[19]
    window[0, 20:] = 7
    assert (session.answers(window[0])[19] == before).all()


@pytest.mark.parametrize("scheme", ["float32", "w4a32-g32"])
def test_a_prompt_is_as_its_tokens_one_by_one_and_as_trained(finished, scheme):
    run = Run.open(finished)
    session, network = answers_of_file(run, uniform_genome(run.space, "largest", scheme))
    window = run.data.val["tokens"][0]
    one_by_one, expected = session.answers(window), network.answers(window[None])[0]
    assert np.abs(one_by_one - expected).max() < 1e-4 * expected.std()
    session.reset()
    assert np.abs(session.feed(window[:20]) - one_by_one[19]).max() < 1e-4 * expected.std()
    assert np.abs(session.feed(window[20:24]) - one_by_one[23]).max() < 1e-4 * expected.std()


@pytest.mark.parametrize("scheme", ["float32", "w8a8", "w4a8d-g32"])
def test_a_cache_of_integers_is_proved(finished, scheme):
    run = Run.open(finished)
    genome = uniform_genome(run.space, "largest", scheme)
    genome[[choice.name for choice in run.space.choices].index("cache_bits")] = 0
    evaluator, subnet = run.evaluator(), run.space.subnet(genome)
    serving, calibration = serving_graph(subnet), evaluator.calibrate(subnet.graph)
    weights = extract(evaluator.supernet, subnet.graph, calibration)
    model = lower(serving, weights, sequence=AXES)
    assert min_onnxruntime(model) == "1.27"
    assert {key: np.asarray(value).tolist() for key, value in weights_of(model, serving).items()} == {
        key: value.tolist() for key, value in weights.items()
    }
    window, network = run.data.test["tokens"][0], Network.of(subnet.graph, weights, 8)
    _, error, wrong = check_operators(model.SerializeToString(), serving, weights, window)
    assert error < 1e-5
    assert wrong == 0
    session = TokenSession(model.SerializeToString(), 32)
    one_by_one, expected = session.answers(window), network.answers(window[None])[0]
    assert (one_by_one - expected).std() < 0.05 * expected.std()
    exact = Network.of(replace_cache(subnet).graph, weights, 8).answers(window[None])[0]
    assert 0 < (exact - expected).std() < 0.1 * expected.std()
    other = {name: array * 1.01 if name.endswith("keys/scale") else array for name, array in weights.items()}
    _, _, wrong = check_operators(model.SerializeToString(), serving, other, window)
    assert wrong > 0


def replace_cache(subnet):
    """Return the same network with a cache of float32."""
    genome = subnet.genome.copy()
    genome[[choice.name for choice in subnet.space.choices].index("cache_bits")] = 1
    return subnet.space.subnet(genome)


def test_a_model_of_others_is_searched_without_training(tmp_path, text, capsys):
    model = write_folder(tmp_path / "hf", "BF16")
    spoken = "{% for each in messages %}{{ each.content }}: {% endfor %}"
    settings = {"eos_token": "<|endoftext|>", "chat_template": [{"name": "default", "template": spoken}]}
    (model / "tokenizer_config.json").write_text(json.dumps(settings))
    quick = [
        *TABLE,
        "threads=1",
        "data.options.context=32",
        "data.n_val=4",
        "search.n_measurements=12",
        "search.n_calibration=4",
    ]
    words = [word for change in quick for word in ("--set", change)]
    out = tmp_path / "run"
    assert main(["adopt", str(model), "--text", str(text), "--out", str(out), *words]) == 0
    assert "operators agree with the reference" in capsys.readouterr().out
    run = nas.open_run(out)
    assert (run.training_records(), run.experiment.left_out) == ([], (2,))
    (exported,) = (out / "export").iterdir()
    assert main(["verify", str(exported), "--data", str(text)]) == 0
    assert main(["adopt", str(out)]) == 0
    assert (exported / "chat_template.jinja").read_text() == spoken
    words = [sys.executable, str(exported / "generate.py"), "the quick", "--seed", "0", "--tokens", "6"]
    plain, answer = (subprocess.run([*words, *more], capture_output=True, text=True) for more in ([], ["--chat"]))
    assert plain.stdout.startswith("the quick")
    assert answer.returncode == 0, answer.stderr
    assert not answer.stdout.startswith("the quick")
    hostile = "{{ cycler.__init__.__globals__.os.system('echo broken > broken.txt') }}"
    (exported / "chat_template.jinja").write_text(hostile)
    assert "SecurityError" in subprocess.run([*words, "--chat"], capture_output=True, text=True, cwd=tmp_path).stderr
    assert not (tmp_path / "broken.txt").exists()


def test_bad_adoptions(tmp_path, text, failing):
    model = write_folder(tmp_path / "hf")
    assert "is a language model: --samples go with other models" in failing(["adopt", model, "--samples", "x.npz"])
    other = tmp_path / "m.onnx"
    other.write_bytes(b"x")
    assert "is no language model (a .gguf file, a folder with config.json): leave out --text" in failing(
        ["adopt", other, "--text", "pydoc"]
    )
    long = ["adopt", model, "--text", text, "--out", tmp_path / "r", "--set", "data.options.context=200"]
    assert "was trained on 128 tokens; a context of 200 is longer" in failing(long)
    assert "unknown data set" in failing(["adopt", model, "--text", "nothing.txt", "--out", tmp_path / "r2"])
    torch.manual_seed(0)
