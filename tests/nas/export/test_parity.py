import dataclasses
import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from nas.evaluation import Evaluator, predict
from nas.export import bundle
from nas.export.bundle import ParityFailed, export_bundle, parity_images
from nas.export.parity import check_parity
from nas.supernet import Supernet
from search_spaces import InvalidInput, lower
from search_spaces.baselines import baselines
from search_spaces.graph import Conv


def parity_of(evaluator, genome, images):
    supernet, space = evaluator.supernet, evaluator.supernet.space
    architecture = space.architecture(genome)
    graph = space.graph(architecture)
    calibration = evaluator.calibrate(graph)
    weights = supernet.extract(architecture, calibration)
    expected = predict(supernet, graph, calibration, torch.from_numpy(images)).numpy()
    return check_parity(lower(graph, weights), graph, weights, images, expected)


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


def test_both_steps_hold_for_every_format_and_border(evaluator, digits, rng):
    images = parity_images(digits, seed=0)
    assert images.shape == (10_000, 1, 8, 8)
    for genome in some_genomes(evaluator.supernet.space, rng):
        parity = parity_of(evaluator, genome, images)
        assert parity.reasons == ()
        assert parity.integer_mismatches == parity.float_mismatches == parity.float_conv == 0
        assert parity.images == 10_000
        assert parity.agreement >= parity.required_agreement
        assert json.dumps(parity.to_dict())


@pytest.mark.parametrize("gamma", [-1.0, 1e-9, -1e-30, 0.0])
@pytest.mark.parametrize("name", ["float32 middle", "w8a8 middle", "w4a4 middle"])
def test_awkward_batch_norms(evaluator, digits, gamma, name):
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
    parity = parity_of(Evaluator(supernet, digits), genome, parity_images(digits, 0, n=1500))
    assert parity.reasons == ()
    assert parity.integer_mismatches == parity.float_mismatches == 0


def damaged(lowered, name, change):
    def lower_damaged(graph, weights=None, **settings):
        model = lowered(graph, weights, **settings)
        for initializer in model.graph.initializer:
            if initializer.name == name:
                initializer.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(initializer)), name))
        return model

    return lower_damaged


def test_export_writes_a_file_that_answers(evaluator, digits, tmp_path):
    space = evaluator.supernet.space
    architecture = space.architecture(baselines(space)["w8a8 largest"])
    parity = export_bundle(evaluator, digits, architecture, tmp_path / "out", seed=0, facts={"error_val": 1.0})
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["model.onnx", "parity.json", "subnet.json"]
    assert json.loads((tmp_path / "out" / "parity.json").read_text())["agreement"] == parity.agreement
    subnet = json.loads((tmp_path / "out" / "subnet.json").read_text())
    assert subnet["id"] == architecture.id
    assert subnet["measured"] == {"error_val": 1.0}
    assert subnet["input"]["shape"] == [1, 1, 8, 8]
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx")
    answers = [session.run(None, {"images": image[None]})[0].argmax() for image in digits.x_test]
    error = 100 * np.mean(np.array(answers) != digits.y_test)
    genome = space.genome(architecture)
    assert error == pytest.approx(evaluator.errors(genome[None], "test")[0], abs=0.6)
    onnx.checker.check_model(str(tmp_path / "out" / "model.onnx"), full_check=True)


def test_failed_parity_leaves_nothing(evaluator, digits, tmp_path, monkeypatch):
    space = evaluator.supernet.space
    architecture = space.architecture(baselines(space)["w8a8 middle"])
    broken = damaged(lower, "head/linear/weight/integers", lambda w: -w)
    monkeypatch.setattr(bundle, "lower", broken)
    with pytest.raises(ParityFailed, match=rf"subnet {architecture.id} is not exported: file and supernet agree on"):
        export_bundle(evaluator, digits, architecture, tmp_path / "out", seed=0)
    assert list(tmp_path.iterdir()) == []


def test_wrong_integers_and_float_kernels_are_found(evaluator, digits, monkeypatch):
    from nas.export import parity as module

    space = evaluator.supernet.space
    genome = baselines(space)["w8a8 middle"]
    images = parity_images(digits, 0, n=200)
    one_off = damaged(lower, "stage1/block1/expand/bias/integers", lambda b: b + 500)
    monkeypatch.setattr(module, "lower", one_off)
    parity = parity_of(evaluator, genome, images)
    assert parity.integer_mismatches > 0
    assert "differ from the integer reference" in parity.reasons[0]
    monkeypatch.undo()

    graph = space.graph(space.architecture(genome))
    floats = dataclasses.replace(graph, nodes=graph.nodes)
    assert sum(isinstance(node, Conv) for node in floats.nodes) > 0
    monkeypatch.setattr(module, "optimized_operators", lambda model: {"Conv": 1, "QLinearConv": 6})
    parity = parity_of(evaluator, genome, images)
    assert any("convolutions in float32 that should run in integers" in reason for reason in parity.reasons)


def test_export_never_overwrites(evaluator, digits, tmp_path):
    space = evaluator.supernet.space
    architecture = space.architecture(baselines(space)["float32 smallest"])
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(InvalidInput, match="exists already and is not empty; choose another folder"):
        export_bundle(evaluator, digits, architecture, tmp_path, seed=0)
    with pytest.raises(InvalidInput, match="exists already"):
        export_bundle(evaluator, digits, architecture, tmp_path / "mine.txt", seed=0)
    with pytest.raises(InvalidInput, match="cannot write to"):
        export_bundle(evaluator, digits, architecture, tmp_path / "mine.txt" / "x", seed=0)
    assert (tmp_path / "mine.txt").read_text() == "keep me"
