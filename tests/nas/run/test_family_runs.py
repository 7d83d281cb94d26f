"""Each family of networks goes the whole way on digits: trained, measured, searched, exported."""

import json
from pathlib import Path

import onnxruntime
import pandas as pd
import pytest

from nas.cli.command import main
from nas.data.load import load_dataset

DIGITS = str(Path(__file__).parents[3] / "experiments" / "digits.yaml")


@pytest.mark.parametrize(
    ("space", "formats"),
    [
        ("resnet-digits", "[float32, w8a8, w4a4]"),
        ("vit-digits", "[float32, w8a8, w5a6-asymmetric]"),
        ("mobilenet-v3-digits", "[float32, w8a8-asymmetric]"),
    ],
)
def test_a_family_goes_the_whole_way(space, formats, quick, tmp_path):
    changes = ["--set", f"space={space}", "--set", f"formats={formats}", "--set", "training.compile=false"]
    assert main(["run", DIGITS, "--out", str(tmp_path / "run"), *quick, *changes]) == 0
    front = pd.read_csv(tmp_path / "run" / "front.csv")
    assert (front["latency_ms"] > 0).all()
    assert front["error_val"].min() < 60
    baselines = pd.read_csv(tmp_path / "run" / "baselines.csv")
    integer = baselines.loc[~baselines["baseline"].str.startswith("float32")].sort_values("error_val").iloc[0]
    folder = tmp_path / "bundle"
    assert main(["export", str(tmp_path / "run"), integer["id"], "--to", str(folder)]) == 0
    parity = json.loads((folder / "parity.json").read_text())
    assert parity["integer_mismatches"] == parity["float_mismatches"] == parity["float_conv"] == 0
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    digits = load_dataset("digits", n_val=360)
    predictions = [session.run(None, {"images": image[None]})[0].argmax() for image in digits.test["images"]]
    error = (
        100
        * sum(answer != label for answer, label in zip(predictions, digits.test["labels"], strict=True))
        / len(predictions)
    )
    assert error == pytest.approx(integer["error_test"], abs=1)
