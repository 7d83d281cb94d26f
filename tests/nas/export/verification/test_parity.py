import dataclasses
import json
import re
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from nas.export import bundle
from nas.export.bundle import VerificationError, export_bundle, parity_inputs
from nas.export.verification.parity import check_parity
from nas.objectives.supernet_evaluator import SupernetEvaluator, predict
from nas.supernet.deploy import extract
from nas.supernet.supernet import Supernet
from search_spaces import InvalidInputError, lower
from search_spaces.graph.graph import Graph
from search_spaces.operators.quantize import Quantize
from search_spaces.precision.formats import INT8
from search_spaces.space.baselines import baselines


def exported(evaluator, genome, images):
    """What `check_parity` takes, without the file: graph, weights, images, the supernet's logits."""
    supernet, space = evaluator.supernet, evaluator.supernet.space
    subnet = space.subnet(genome)
    graph = subnet.graph
    calibration = evaluator.calibrate(graph)
    weights = extract(supernet, subnet.graph, calibration)
    return graph, weights, images, predict(supernet, graph, calibration, torch.from_numpy(images)).numpy()


def parity_of(evaluator, genome, images):
    graph, weights, images, expected = exported(evaluator, genome, images)
    return check_parity(lower(graph, weights), graph, weights, images, expected, evaluator.task.agreement)


def some_genomes(space, rng):
    genes = [space.gene[f"stage{s}/block{b}/format"] for s in (1, 2) for b in (1, 2)]
    deep = np.zeros(len(space.choices), np.int16)
    deep[[space.gene["stage1/depth"], space.gene["stage2/depth"]]] = 1
    for pattern in [(0, 1, 0, 1), (1, 0, 1, 0), (0, 2, 0, 2), (2, 0, 2, 0), (1, 2, 1, 2), (0, 0, 1, 2)]:
        genome = deep.copy()
        genome[genes] = pattern
        yield genome
    yield from baselines(space).values()
    yield from space.sample(5, rng)


def test_both_steps_hold_for_every_format_and_border(evaluator, digits, rng, task):
    images = parity_inputs(task, digits, seed=0)
    assert images.shape == (10_000, 1, 8, 8)
    for genome in some_genomes(evaluator.supernet.space, rng):
        parity = parity_of(evaluator, genome, images)
        assert parity.reasons == ()
        assert parity.integer_mismatches == parity.float_mismatches == parity.float_conv == 0
        assert parity.samples == 10_000
        assert parity.agreement >= parity.required_agreement
        assert json.dumps(parity.to_dict())


@pytest.mark.parametrize("gamma", [-1.0, 1e-9, -1e-30, 0.0])
@pytest.mark.parametrize("name", ["float32 middle", "w8a8 middle", "w4a4 middle"])
def test_awkward_batch_norms(evaluator, digits, gamma, name, task):
    """A quarter of the channels of every batch norm gets a negative, tiny or zero factor, and some a large bias."""
    supernet = Supernet(evaluator.supernet.space, torch.Generator().manual_seed(0))
    supernet.load_state_dict(evaluator.supernet.state_dict())
    with torch.no_grad():
        for key, parameter in supernet.shared.items():
            if key.endswith("/gamma"):
                parameter[::4] *= gamma
            elif key.endswith("/bias"):
                parameter[::8] += 1.0
    genome = baselines(supernet.space)[name]
    parity = parity_of(SupernetEvaluator(supernet, task, digits), genome, parity_inputs(task, digits, 0, n=1500))
    assert parity.reasons == ()
    assert parity.integer_mismatches == parity.float_mismatches == 0


def damage(model, name, change):
    """Change one array of the file."""
    for initializer in model.graph.initializer:
        if initializer.name == name:
            initializer.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(initializer)), name))
            return model
    raise KeyError(name)


def test_export_writes_a_file_that_answers(evaluator, digits, tmp_path):
    space = evaluator.supernet.space
    subnet = space.subnet(baselines(space)["w8a8 largest"])
    parity = export_bundle(evaluator, subnet, tmp_path / "out", seed=0, facts={"error_val": 1.0}).verification
    written = ["README.md", "SHA256SUMS", "model.onnx", "parity.json", "predict.py", "samples.npz", "subnet.json"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == written
    assert json.loads((tmp_path / "out" / "parity.json").read_text())["agreement"] == parity["agreement"]
    written = json.loads((tmp_path / "out" / "subnet.json").read_text())
    assert written["id"] == subnet.id
    assert written["measured"] == {"error_val": 1.0}
    assert written["input"]["shape"] == [1, 1, 8, 8]
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx")
    predictions = [session.run(None, {"images": image[None]})[0].argmax() for image in digits.test["images"]]
    error = 100 * np.mean(np.array(predictions) != digits.test["labels"])
    assert error == pytest.approx(evaluator.evaluate([subnet], "test")["error"][0], abs=0.6)
    onnx.checker.check_model(str(tmp_path / "out" / "model.onnx"), full_check=True)


def test_the_bundle_explains_and_runs_itself(evaluator, digits, tmp_path):
    space = evaluator.supernet.space
    subnet = space.subnet(baselines(space)["w4a4 largest"])
    facts = {"error_val": 5.0, "error_test": 10.0, "latency_ms": 0.5, "latency_spread": 0.01, "latency_ms@other": 2.0}
    device = {"backend": "onnxruntime", "version": "1", "threads": 1, "cpu": "some processor"}
    export_bundle(evaluator, subnet, tmp_path / "out", seed=0, facts={**facts, "device": device})
    text = (tmp_path / "out" / "README.md").read_text()
    assert "- test: 10.00 % (95 % interval 7.31 to 13.53)" in text  # Wilson, 36 of 360
    assert (
        "- 0.5000 ms, spread 1.0 %: the search measured, backend onnxruntime, version 1, cpu some processor, threads 1"
        in text
    )
    assert "- 2.0000 ms, spread 0.0 %: the search measured, other" in text
    assert "| stage1/block1/depthwise | int4 | 24x1x5x5 | int4 |" in text
    assert "| stem/conv | int8 | 8x1x3x3 | int8 |" in text
    assert "0 differ" in text

    def predict_py(*arguments):
        command = [sys.executable, tmp_path / "out" / "predict.py", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=100)

    samples = np.load(tmp_path / "out" / "samples.npz")
    assert predict_py().stdout.split() == [str(i) for i in samples["logits"].argmax(axis=1)]
    np.save(tmp_path / "images.npy", digits.test["images"][:3])
    assert len(predict_py(tmp_path / "images.npy").stdout.split()) == 3
    subnet = json.loads((tmp_path / "out" / "subnet.json").read_text())
    subnet["output"]["classes"] = [f"the {i}" for i in range(10)]
    (tmp_path / "out" / "subnet.json").write_text(json.dumps(subnet))
    predictions = samples["logits"].argmax(axis=1)
    assert len(set(predictions)) > 4  # classes in turn
    assert predict_py().stdout.splitlines() == [f"the {i}" for i in predictions]
    np.save(tmp_path / "images.npy", digits.test["images"][0])
    assert predict_py(tmp_path / "images.npy").stderr == "the images must be of shape (number, 1, 8, 8), got (1, 8, 8)\n"
    for name in ("none.npy", "out/samples.npz", "out/model.onnx"):
        assert f"{name}' must be an .npy file of numbers: " in predict_py(tmp_path / name).stderr
    np.savez(tmp_path / "out" / "samples.npz", images=samples["images"], logits=samples["logits"] + 1)
    assert "differ from those of the machine that exported" in predict_py().stderr


def test_failed_parity_leaves_nothing(evaluator, digits, tmp_path, monkeypatch):
    space = evaluator.supernet.space
    subnet = space.subnet(baselines(space)["w8a8 middle"])

    def broken(graph, weights, **settings):
        return damage(lower(graph, weights, **settings), "head/linear/weight/integers", lambda w: -w)

    monkeypatch.setattr(bundle, "lower", broken)
    with pytest.raises(
        VerificationError, match=rf"subnet {subnet.id} is not exported: the outputs differ .* choose another"
    ):
        export_bundle(evaluator, subnet, tmp_path / "out", seed=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("stage2/block1/expand/bias/integers", lambda b: b + 500, "integers of .* differ from the integer reference"),
        ("stage2/block1/relu1/quantize/scale", lambda s: s * np.float32(1.02), "differ from the integer reference"),
        ("head/linear/weight/scale", lambda s: 2 * s, "the outputs differ from the reference by 1 of the greatest"),
        ("stage1/block1/expand/weight", lambda w: 0 * w, "after float operators differ by more than one step"),
        ("stem/normalize/mean", lambda m: m + 1, "after float operators differ by more than one step"),
    ],
)
def test_whatever_is_wrong_in_the_file_is_found(evaluator, digits, name, change, message, task):
    """Stage 1 is float32, stage 2 w8a8."""
    space = evaluator.supernet.space
    genome = np.zeros(len(space.choices), np.int16)
    genome[space.gene["stage2/block1/format"]] = 1
    case = exported(evaluator, genome, parity_inputs(task, digits, 0, n=200))
    model = lower(*case[:2])
    assert check_parity(model, *case, task.agreement).reasons == ()
    assert re.search(message, "; ".join(check_parity(damage(model, name, change), *case, task.agreement).reasons))


def test_a_float_classifier_behind_integers_is_compared_too(evaluator, digits, task):
    space = evaluator.supernet.space
    genome = np.zeros(len(space.choices), np.int16)
    genome[space.gene["stage1/block1/format"]] = 1
    case = exported(evaluator, genome, parity_inputs(task, digits, 0, n=200))
    model = damage(lower(*case[:2]), "head/linear/weight", lambda w: w * np.float32(1.01))
    assert "the outputs differ" in check_parity(model, *case, task.agreement).reasons[0]


def test_integer_blocks_on_float_kernels_are_found(evaluator, digits, task):
    """A signed tensor behind a ReLU, zero point 128, is what onnxruntime cannot fuse."""
    space = evaluator.supernet.space
    graph, weights, images, expected = exported(
        evaluator, baselines(space)["w8a8 middle"], parity_inputs(task, digits, 0, n=50)
    )
    nodes = tuple(
        dataclasses.replace(node, format=INT8) if isinstance(node, Quantize) and "relu" in node.name else node
        for node in graph.nodes
    )
    slow = Graph(nodes, graph.block_of)
    parity = check_parity(lower(slow, weights), slow, weights, images, expected, task.agreement)
    assert parity.float_conv > 0
    assert any("convolutions in float32 that should run in integers" in reason for reason in parity.reasons)


def test_export_never_overwrites(evaluator, digits, tmp_path):
    space = evaluator.supernet.space
    subnet = space.subnet(baselines(space)["float32 smallest"])
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(InvalidInputError, match="exists already and is not empty; choose another folder"):
        export_bundle(evaluator, subnet, tmp_path, seed=0)
    with pytest.raises(InvalidInputError, match="exists already"):
        export_bundle(evaluator, subnet, tmp_path / "mine.txt", seed=0)
    with pytest.raises(InvalidInputError, match="cannot write to"):
        export_bundle(evaluator, subnet, tmp_path / "mine.txt" / "x", seed=0)
    assert (tmp_path / "mine.txt").read_text() == "keep me"
