"""Further forms of an exported network, run by their own tools."""

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import nas
from nas.cli.arguments import build_parser
from nas.cli.command import main
from nas.export.bundle import VerificationError, _agreement
from nas.export.targets.qonnx import has_qonnx
from nas.export.targets.targets import DEFAULT, TARGETS, Deployed
from nas.export.verification.parity import predictions
from nas.supernet.deploy import DeployedLayers
from nas.supernet.executor import execute as run_graph
from search_spaces import SPACES, lower
from search_spaces.errors import NotReadyError
from search_spaces.lowering import random_weights
from search_spaces.space.baselines import uniform_genome

needs_qonnx = pytest.mark.skipif(not has_qonnx(), reason="qonnx is not installed")
needs_openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO is not installed")
FAMILIES = ["mobilenet-v3-digits", "resnet-digits", "vit-digits"]
NAMES = ("float32", "w8a8", "w4a4", "w8a8-asymmetric", "w5a6-tensor")


def deployed(name, number_format, n=4, level="largest"):
    """A network with random weights and what onnxruntime makes of it."""
    space = SPACES.get(name)(formats=NAMES)
    graph = space.subnet(uniform_genome(space, level, number_format)).graph
    rng = np.random.default_rng(1)
    weights = random_weights(graph, rng)
    model = lower(graph, weights)
    images = rng.normal(0.5, 0.3, (n, *graph.input_shape)).astype(np.float32)
    return Deployed(graph, weights, model, images, predictions(model, images))


def alike(logits, expected):
    """Equal but for roundings that fell the other way here and there, which random weights amplify."""
    return np.corrcoef(logits.ravel(), expected.ravel())[0, 1] > 0.98


@pytest.mark.parametrize("number_format", NAMES)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_torch_module_computes_the_same(family, number_format, tmp_path):
    network = deployed(family, number_format, n=16, level="smallest")
    logits = TARGETS.get("torch")(network, tmp_path)
    assert alike(logits, network.expected)
    tensors = {name: torch.from_numpy(np.asarray(array)) for name, array in network.weights.items()}
    folded = run_graph(network.graph, torch.from_numpy(network.inputs), DeployedLayers(tensors)).numpy()
    assert alike(logits, folded)
    if number_format == "float32":
        np.testing.assert_allclose(logits, folded, atol=1e-4 * np.abs(folded).max())


@needs_qonnx
@pytest.mark.parametrize("number_format", NAMES)
@pytest.mark.parametrize("family", FAMILIES)
def test_qonnx_computes_the_same(family, number_format, tmp_path):
    network = deployed(family, number_format, n=1, level="smallest")
    assert alike(TARGETS.get("qonnx")(network, tmp_path), network.expected)
    model = onnx.load(tmp_path / "model.qonnx.onnx")
    kinds = {operator.op_type for operator in model.graph.node}
    assert not kinds & {"QuantizeLinear", "DequantizeLinear"}
    assert ("Quant" in kinds) == (number_format != "float32")


@needs_qonnx
def test_qonnx_says_how_many_bits(tmp_path):
    TARGETS.get("qonnx")(deployed("resnet-digits", "w4a4", n=1, level="smallest"), tmp_path)
    model = onnx.load(tmp_path / "model.qonnx.onnx")
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    bits = [float(stored[operator.input[3]]) for operator in model.graph.node if operator.op_type == "Quant"]
    assert {4.0, 32.0} <= set(bits) <= {4.0, 8.0, 32.0}  # 8: between blocks of other formats, 32: biases


def test_the_torch_module_needs_torch_and_safetensors_alone(tmp_path):
    network = deployed("mobilenet-v3-digits", "w8a8", level="smallest")
    TARGETS.get("torch")(network, tmp_path)
    np.savez(tmp_path / "samples.npz", images=network.inputs)
    program = """
import sys, importlib.abc
class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in ("nas", "search_spaces", "predictors", "latency_tables", "onnx", "onnxruntime"):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
import numpy, torch, model
module = model.load()
images = torch.from_numpy(numpy.load("samples.npz")["images"])
loss = module(images).square().mean()
loss.backward()
assert all(p.grad is not None and p.grad.abs().sum() > 0 for name, p in module.w.items() if "bias" not in name)
print(*module(images).argmax(dim=1).tolist())
"""
    ran = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert len(ran.stdout.split()) == len(network.inputs)


@needs_openvino
def test_openvino_gets_its_own_form(tmp_path):
    network = deployed("resnet-digits", "float32")
    np.testing.assert_allclose(TARGETS.get("openvino")(network, tmp_path), network.expected, rtol=1e-3, atol=1e-3)
    assert {path.name for path in tmp_path.iterdir()} == {"model.xml", "model.bin"}


def test_the_command_writes_and_records_a_target(run, tmp_path, capsys):
    (exported,) = (run / "export").iterdir()
    assert main(["export", str(run), exported.name, "--to", str(tmp_path / "model"), "--target", "torch"]) == 0
    assert "torch: " in capsys.readouterr().out
    parity = json.loads((tmp_path / "model" / "parity.json").read_text())
    assert parity["targets"]["torch"]["samples"] == 10_000
    assert {"model.py", "model.safetensors", "model.onnx"} <= {path.name for path in (tmp_path / "model").iterdir()}
    shutil.rmtree(tmp_path / "model")


def test_a_target_that_answers_otherwise_is_refused(task):
    expected = np.eye(10, dtype=np.float32)
    parity = SimpleNamespace(required_agreement=99.5)
    one_differs, two_differ = expected.copy(), expected.copy()
    one_differs[0] = np.roll(one_differs[0], 1)
    two_differ[:2] = np.roll(two_differ[:2], 1, axis=1)
    assert _agreement(task, one_differs, expected, parity, "qonnx") == {"samples": 10, "agreement": 90.0}
    with pytest.raises(VerificationError, match="by qonnx"):
        _agreement(task, two_differ, expected, parity, "qonnx")


def test_nothing_but_its_files_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    TARGETS.get("torch")(deployed("resnet-digits", "w8a8", n=1, level="smallest"), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"model.py", "model.safetensors"}


def test_the_command_knows_every_target():
    parser = build_parser()
    for target in (DEFAULT, *TARGETS):
        assert parser.parse_args(["export", "run", "id", "--target", target]).target == target


def test_a_missing_tool_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "qonnx", None)
    monkeypatch.setitem(sys.modules, "qonnx.core.modelwrapper", None)
    network = deployed("resnet-digits", "w8a8", n=1, level="smallest")
    with pytest.raises(NotReadyError, match=r"hwnas\[qonnx\]"):
        TARGETS.get("qonnx")(network, tmp_path)


def test_int4_weights_halve_their_bytes_and_keep_the_integer_kernels(run, tmp_path):
    narrow = nas.open_run(run).baselines().set_index("baseline").loc["w4a4 largest", "id"]
    for name, options in {"plain": [], "packed": ["--int4"]}.items():
        assert main(["export", str(run), narrow, "--to", str(tmp_path / name), *options]) == 0
    plain, packed = (tmp_path / name for name in ("plain", "packed"))
    assert (packed / "model.onnx").stat().st_size < 0.9 * (plain / "model.onnx").stat().st_size
    proofs = [json.loads((folder / "parity.json").read_text()) for folder in (plain, packed)]
    assert proofs[0] == proofs[1]
    assert "4 bits two a byte" in (packed / "README.md").read_text()
    assert (packed / "model.qonnx.onnx").exists() == has_qonnx()  # below 8 bits it need not be asked for
    assert main(["verify", str(packed)]) == 0


def test_a_dynamic_batch_answers_many_images_at_once(run, tmp_path):
    (exported,) = (run / "export").iterdir()
    folder = tmp_path / "model"
    assert main(["export", str(run), exported.name, "--to", str(folder), "--dynamic-batch"]) == 0
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    samples = np.load(folder / "samples.npz")
    (logits,) = session.run(None, {"images": samples["images"]})
    np.testing.assert_allclose(logits, samples["logits"], atol=1e-3 * np.abs(logits).max())
    assert json.loads((folder / "subnet.json").read_text())["input"]["shape"][0] == "batch"
    assert main(["verify", str(folder)]) == 0
    assert main(["bench", str(folder), "--rounds", "2"]) == 0
