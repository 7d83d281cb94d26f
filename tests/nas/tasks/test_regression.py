"""Regression of several numbers, the second task: its arithmetic by hand, its data, and a run from end to end."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import nas
from nas.cli import main
from nas.data import load_dataset
from nas.data.dataset import Dataset
from nas.tasks.regression import Regression
from nas.tasks.task import has_collapsed, values
from search_spaces.errors import InvalidInputError

QUICK = {
    "name": "turned",
    "task": "regression",
    "threads": 1,
    "data": {"name": "rotated_digits", "n_val": 3500},
    "training": {"float_epochs": 2, "quantized_epochs": 1, "compile": False, "learning_rate": 0.05, "batch_size": 128},
    "devices": {},
    "search": {"n_measurements": 8, "n_calibration": 250, "batch": 4},
}


def two_numbers():
    y = np.array([[10.0, 1.0], [20.0, 3.0], [30.0, 5.0]], np.float32)
    arrays = {"images": np.zeros((3, 1, 4, 4), np.float32), "numbers": y}
    return Dataset("two", arrays, arrays, arrays, {"names": ("angle", "size"), "units": ("degrees", "")})


def test_metrics_by_hand():
    task = Regression.of(two_numbers())
    assert task.mean == pytest.approx((20, 3))
    assert task.std == pytest.approx((np.sqrt(200 / 3), np.sqrt(8 / 3)))
    assert [metric.name for metric in task.metrics] == ["rmse", "angle_rmse_degrees", "size_rmse"]
    found = values(task, np.zeros((3, 2), np.float32), two_numbers().test)  # always the mean
    assert found["rmse"] == pytest.approx(task.chance) == pytest.approx(1)
    assert found["angle_rmse_degrees"] == pytest.approx(task.std[0])
    exact = (two_numbers().test["numbers"] - task.mean) / task.std
    assert values(task, exact, two_numbers().test)["rmse"] == pytest.approx(0, abs=1e-6)
    assert task.agreement(exact, exact + 0.04).all()
    assert task.agreement(exact, exact + np.array([[0, 0.06], [0, 0], [0, 0]])).tolist() == [False, True, True]
    assert has_collapsed(task, 0.99, [0.5])
    assert not has_collapsed(task, 0.99, [0.9])


def test_digits_are_turned_and_scaled():
    data = load_dataset("rotated_digits", n_val=500, targets="numbers")
    assert data.train["images"].shape == (5248, 1, 16, 16)
    angles, scales = data.test["numbers"].T
    assert len(angles) == 360
    assert -45 <= angles.min() < -40
    assert 40 < angles.max() <= 45
    assert 0.8 <= scales.min() < scales.max() <= 1.6
    ink = data.test["images"].sum(axis=(1, 2, 3))
    assert np.corrcoef(ink, scales**2)[0, 1] > 0.8  # a larger digit has more ink


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros((40, 2, 2)), r"training targets must have shape \(40, k\)"),
        (np.array(["a"] * 40), "training targets must be numbers, got <U1"),
        (np.full(40, np.nan), "training targets must be finite, got NaN or infinity for sample 0"),
        (np.zeros((40, 2)), r"the training targets \[0, 1\] are all alike"),
        (np.arange(40.0).reshape(40, 1).repeat(3, axis=1), "3 numbers a training sample, but 1 a test sample"),
    ],
)
def test_bad_targets_are_refused(y, message, tmp_path, rng):
    x = rng.random((40, 8, 8))
    np.savez(tmp_path / "d.npz", x_train=x, y_train=y, x_test=x, y_test=y if y.shape == (40, 2) else np.arange(40.0))
    with pytest.raises(InvalidInputError, match=message):
        load_dataset("npz", path=str(tmp_path / "d.npz"), targets="numbers")


def test_data_of_another_task_are_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="the data set 'digits' has labels, the task needs numbers"):
        nas.Run.create({**QUICK, "data": {"name": "digits"}}, tmp_path / "run")
    with pytest.raises(InvalidInputError, match=r"search.objectives must be among \['rmse', .* got \['error'\]"):
        nas.Run.create({**QUICK, "search": {"objectives": ["error", "macs"]}}, tmp_path / "run")


def test_from_data_to_a_front_and_a_verified_file(tmp_path, capsys):
    run = nas.Run.create(QUICK, tmp_path / "run")
    front = run.run()
    assert {"rmse_val", "rmse_test", "angle_rmse_degrees_test", "scale_rmse_test", "size_bytes"} <= set(front)
    assert (front["rmse_val"] < 1.3).all()
    exported = run.export(run.best_id(), tmp_path / "model")
    assert exported.verification["agreement"] >= 99.5
    subnet = json.loads((tmp_path / "model" / "subnet.json").read_text())
    assert subnet["task"] == "regression"
    assert subnet["output"]["names"] == ["angle", "scale"]
    assert "RMSE of angle" in (tmp_path / "model" / "README.md").read_text()
    said = subprocess.run(
        [sys.executable, str(tmp_path / "model" / "predict.py")], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert said[0] == "angle degrees\tscale"
    assert all(-90 < float(line.split("\t")[0]) < 90 for line in said[1:])
    assert main(["verify", str(tmp_path / "model")]) == 0
    assert "test RMSE" in capsys.readouterr().out
    assert main(["front", str(tmp_path / "run"), "--best", "rmse_val", "--format", "csv"]) == 0
    assert len(pd.read_csv(__import__("io").StringIO(capsys.readouterr().out))) == 1
    assert run.report().exists()
