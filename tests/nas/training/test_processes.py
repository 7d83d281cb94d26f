"""Two gloo processes against one with the same global batch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch.nn import functional

from nas import processes
from nas.calibration import calibrate
from nas.quant.folding import BATCH_NORM_EPS
from nas.supernet import SharedLayers
from nas.training.checkpoint import load_tensors
from nas.training.sandwich import sample_sandwich, sandwich_step

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0", "--standalone"]


def gradients(supernet, digits, schedule, monkeypatch):
    """Gradients of a sandwich in which batch norms use fixed statistics, and the loss and errors of its networks."""
    graphs = sample_sandwich(supernet.space, schedule, 8.5, np.random.default_rng(5))
    images, labels = torch.from_numpy(digits.x_train[:63]), torch.from_numpy(digits.y_train[:63])
    fixed = {id(g): calibrate(supernet, g, torch.from_numpy(digits.x_train[:256])).statistics for g in graphs}

    class FixedStatistics(SharedLayers):
        def conv(self, node, x):
            weight = self._rounded(node)
            y = functional.conv2d(x, weight, stride=node.stride, padding=node.kernel // 2, groups=node.groups)
            gamma, beta = self.supernet.gamma(node), self.supernet.bias(node)
            return functional.batch_norm(y, *fixed[current[0]][node.name], gamma, beta, eps=BATCH_NORM_EPS)

    current = []
    forward = supernet.forward

    def with_graph(images, graph):
        current[:] = [id(graph)]
        return forward(images, graph)

    monkeypatch.setattr("nas.supernet.SharedLayers", FixedStatistics)
    monkeypatch.setattr(supernet, "forward", with_graph)
    optimizer = torch.optim.SGD(supernet.parameters(), lr=0.0)
    told = sandwich_step(supernet, optimizer, images, labels, graphs, schedule)
    return {name: p.grad for name, p in supernet.named_parameters() if p.grad is not None}, told


def test_gradients_of_one_process(trained, digits, make_schedule, monkeypatch, tmp_path):
    """The other side is this test itself under torchrun: both write their gradients, which must agree to 1e-5."""
    schedule = make_schedule(clip_norm=1e9)
    if "HWNAS_GRADIENTS" in os.environ:
        with processes.joined():
            found, told = gradients(trained, digits, schedule, monkeypatch)
            if processes.is_first():
                torch.save({"gradients": found, "told": told}, os.environ["HWNAS_GRADIENTS"])
        return
    mine, told = gradients(trained, digits, schedule, monkeypatch)
    file = tmp_path / "gradients.pt"
    test = f"{__file__}::test_gradients_of_one_process"
    environment = os.environ | {"HWNAS_GRADIENTS": str(file), "OMP_NUM_THREADS": "1"}
    command = [*TORCHRUN, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--basetemp", str(tmp_path / "other"), test]
    root = Path(__file__).parents[3]
    ended = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    theirs = torch.load(file)
    assert theirs["gradients"].keys() == mine.keys()
    for name, gradient in mine.items():
        scale = max(float(gradient.abs().max()), 1e-3)
        assert float((gradient - theirs["gradients"][name]).abs().max()) <= 1e-5 * scale, name
    assert theirs["told"][0] == pytest.approx(told[0], rel=1e-5)
    assert theirs["told"][1] == pytest.approx(told[1])


def test_the_real_command_under_torchrun(tmp_path):
    training = {"float_epochs": 4, "quantized_epochs": 1, "batch_size": 64, "n_random": 0, "warmup_epochs": 0}
    training["compile"] = False
    experiment = tmp_path / "two.yaml"
    experiment.write_text(yaml.safe_dump({"name": "two", "data": {"name": "digits", "n_val": 360}, "training": training}))
    errors = {}
    for name, launcher in (("one", [sys.executable]), ("two", TORCHRUN)):
        command = [*launcher, "-m", "nas.cli", "train", str(experiment), "--out", str(tmp_path / name)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=600)
        assert ended.returncode == 0, ended.stderr
        _, facts = load_tensors(tmp_path / name / "supernet.safetensors")
        errors[name] = facts["records"][-1]["error_largest"]
    assert errors["one"] < 15, json.dumps(errors)
    assert abs(errors["one"] - errors["two"]) < 5, json.dumps(errors)
