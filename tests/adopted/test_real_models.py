"""Twelve models as users have them: each is read, computes what its original computes, and runs in integer kernels."""

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxscript", reason="torch exports with onnxscript (extra adopt)")
sys.path.insert(0, str(Path(__file__).parents[2] / "experiments" / "adopted"))
from models import MODELS, build
from wheels import WheelError

from nas.export.adopted import prove
from nas.run.adoption import Adoption

pytestmark = [pytest.mark.models, pytest.mark.filterwarnings("ignore")]
SHARES = {"silero": 0.6, "vit": 0.85}  # of multiply-accumulates with integer forms; LSTM and attention have none
PLAIN = {"rounding": "nearest", "bias_correction": False, "calibrator": "minmax"}
N_LAYERS: Mapping[str, int] = {
    "resnet18": 21,
    "mobilenetv2": 53,
    "unet": 18,
    "detector": 38,
    "vit": 50,
    "encoder": 13,
    "efficientnet-lite0": 50,
    "minilm": 36,
    "ppocr-det": 64,
    "ppocr-rec": 47,
    "ppocr-cls": 54,
    "silero": 6,
}


@pytest.mark.parametrize("name", list(MODELS))
def test_a_model_is_read_and_computed_in_integers(name, tmp_path):
    try:
        model = build(name, n=9)
    except WheelError as error:
        pytest.skip(str(error))
    (tmp_path / "model.onnx").write_bytes(model.content)
    np.savez(tmp_path / "samples.npz", **model.samples)
    settings = {
        "model": str(tmp_path / "model.onnx"),
        "samples": str(tmp_path / "samples.npz"),
        "shapes": model.shapes,
        **PLAIN,
    }
    run = Adoption.create({"name": name, "threads": 1, "adopt": settings, "devices": {}}, tmp_path / "run")
    assert run.read()
    assert run.check.difference <= run.check.allowed
    imported = run.adopted.imported
    assert imported.known_share >= SHARES.get(name, 0.95)
    layers = [node for node in imported.nodes if any(spec.quantized for spec in node.weights())]
    assert len(layers) == N_LAYERS[name]
    graph = run.adopted.in_format("w8a8")
    proof = prove(run.evaluator.model(graph), graph, run.bank.weights(graph), run.samples.val)
    assert proof["reasons"] == []
    assert proof["operators"].get("FusedConv", 0) == 0
    narrow = run.adopted.in_format("w4a4") if name == "efficientnet-lite0" else None
    if narrow is not None:  # no float convolution from ReLU6 below 8 bits either
        from nas.export.verification.parity import optimized_operators
        from search_spaces.lowering import lower

        assert optimized_operators(lower(narrow))["QLinearConv"] == 49
