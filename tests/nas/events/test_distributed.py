"""Two gloo processes against one with the same global batch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from nas.training.checkpoint import load_tensors

pytestmark = pytest.mark.serial  # its two processes keep two cores busy
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
PROGRAM = Path(__file__).with_name("write_gradients.py")


def run(command):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}  # two processes with two threads each would wait for each other
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_two_processes_give_the_gradients_of_one(tmp_path):
    run([sys.executable, str(PROGRAM), str(tmp_path / "one.pt")])
    run([*TORCHRUN, str(PROGRAM), str(tmp_path / "two.pt")])
    one, two = (torch.load(tmp_path / f"{name}.pt") for name in ("one", "two"))
    assert one["gradients"].keys() == two["gradients"].keys()
    for name, gradient in one["gradients"].items():
        scale = max(float(gradient.abs().max()), 1e-3)
        assert float((gradient - two["gradients"][name]).abs().max()) <= 1e-5 * scale, name
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-5)
    assert two["errors"] == pytest.approx(one["errors"])


def test_the_real_command_under_torchrun(tmp_path):
    training = {"float_epochs": 4, "quantized_epochs": 1, "batch_size": 64, "n_random": 0, "warmup_epochs": 0}
    training["compile"] = False
    experiment = tmp_path / "two.yaml"
    content = {"name": "two", "threads": 1, "data": {"name": "digits", "n_val": 360}, "training": training}
    experiment.write_text(yaml.safe_dump(content))
    errors = {}
    for name, launcher in (("one", [sys.executable]), ("two", TORCHRUN)):
        command = [*launcher, "-m", "nas.cli", "train", str(experiment), "--out", str(tmp_path / name)]
        run(command)
        _, facts = load_tensors(tmp_path / name / "supernet.safetensors")
        errors[name] = facts["records"][-1]["error_largest"]
    assert errors["one"] < 15, json.dumps(errors)
    assert abs(errors["one"] - errors["two"]) < 5, json.dumps(errors)
