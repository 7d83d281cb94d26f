"""Networks that are no chains go the whole way: trained, measured, searched, exported, verified."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from nas.cli.command import main
from search_spaces.lowering import of_any_size

EXPERIMENTS = Path(__file__).parents[3] / "experiments"
SHORT = ["--set", "training.compile=false", "--set", "training.float_epochs=1", "--set", "training.quantized_epochs=1"]


@pytest.fixture
def photographs(tmp_path):
    """A folder of photographs, 8 of 80x96 pixels and two of other sizes for the test."""
    flower = np.asarray(load_sample_images().images[1])
    corners = [(i, j) for i in (100, 180) for j in (100, 196, 292, 388)]
    cut = {f"train/{n}.png": flower[i : i + 80, j : j + 96] for n, (i, j) in enumerate(corners)}
    cut |= {"test/a.png": flower[:64, :80], "test/b.png": flower[200:271, 300:381]}
    for name, pixels in cut.items():
        file = tmp_path / "pictures" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
    return tmp_path / "pictures"


def test_super_resolution_of_a_folder(photographs, quick, tmp_path, capsys):
    run, folder = tmp_path / "run", tmp_path / "bundle"
    changes = [
        *("data.name=pictures", f"data.path={photographs}", "data.n_val=2", "formats=[float32, w8a8, w4a8]"),
        *("data.options={patch: 16, height: 24, width: 20, luminance: true}", "training.batch_size=8"),
    ]
    sets = [part for change in changes for part in ("--set", change)]
    assert main(["run", str(EXPERIMENTS / "super_resolution.yaml"), "--out", str(run), *quick, *sets, *SHORT]) == 0
    front = pd.read_csv(run / "front.csv")
    assert (front["latency_ms"] > 0).all()
    assert front["psnr_db_val"].is_monotonic_decreasing or front["psnr_db_val"].is_monotonic_increasing
    baselines = pd.read_csv(run / "baselines.csv").set_index("baseline")
    chosen = baselines.loc["w8a8 largest"]
    assert main(["export", str(run), chosen["id"], "--to", str(folder)]) == 0
    parity = json.loads((folder / "parity.json").read_text())
    assert parity["integer_mismatches"] == parity["float_mismatches"] == parity["float_conv"] == 0
    assert parity["agreement"] == 100
    assert "PSNR" in (folder / "README.md").read_text()
    capsys.readouterr()
    assert main(["verify", str(folder), "--data", str(photographs)]) == 0
    assert "test PSNR" in capsys.readouterr().out
    import onnx

    session = onnxruntime.InferenceSession(of_any_size(onnx.load(folder / "model.onnx")).SerializeToString())
    (large,) = session.run(None, {"images": np.full((1, 1, 31, 40), 100, np.float32)})
    assert large.shape == (1, 1, 62, 80)


def test_segmentation_by_a_u_net(quick, tmp_path):
    run, folder = tmp_path / "run", tmp_path / "bundle"
    # Two epochs of Adam leave logits so near one another that rounding decides; large steps of SGD do not.
    changes = ("optimizer=sgd", "learning_rate=0.05", "quantized_learning_rate=0.01", "label_smoothing=0.1")
    quicker = ["--set", "data.n_val=1000", "--set", "search.n_calibration=64"]
    quicker += [word for change in changes for word in ("--set", f"training.{change}")]
    assert main(["run", str(EXPERIMENTS / "segmentation.yaml"), "--out", str(run), *quick, *SHORT, *quicker]) == 0
    front = pd.read_csv(run / "front.csv")
    assert (front["mean_iou_val"] > 0).all()
    chosen = pd.read_csv(run / "baselines.csv").set_index("baseline").loc["w8a8 largest"]
    assert main(["export", str(run), chosen["id"], "--to", str(folder)]) == 0
    parity = json.loads((folder / "parity.json").read_text())
    assert parity["integer_mismatches"] == parity["float_mismatches"] == parity["float_conv"] == 0
    assert main(["verify", str(folder)]) == 0


def test_a_space_of_another_task_is_refused(tmp_path, capsys):
    for space, task, message in (
        ("edsr", "classification", "space 'edsr' enlarges pictures: of shape (1, 8, 8) it cannot give (10,)"),
        ("unet", "classification", "space 'unet' gives something for each pixel of (8, 8), not (10,)"),
    ):
        changes = ["--set", f"space={space}", "--set", f"task={task}"]
        assert main(["train", str(EXPERIMENTS / "digits.yaml"), "--out", str(tmp_path / space), *changes]) == 2
        assert message in capsys.readouterr().err
