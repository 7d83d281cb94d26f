"""A network is calibrated once for all splits, and anew when weights have changed."""

import pytest
import torch

from nas.objectives.supernet_evaluator import SupernetEvaluator
from nas.supernet.supernet import Supernet


@pytest.fixture
def own(evaluator, task, digits):
    supernet = Supernet(evaluator.supernet.space)
    supernet.load_state_dict(evaluator.supernet.state_dict())
    return SupernetEvaluator(supernet.eval(), task, digits)


def test_a_network_is_calibrated_once(own, evaluator, rng, monkeypatch):
    subnets = own.supernet.space.subnets(own.supernet.space.sample(3, rng))
    expected = {split: evaluator.evaluate(subnets, split)["error"] for split in ("val", "test")}
    calls, calibrate = [], own.calibrate
    monkeypatch.setattr(own, "calibrate", lambda graph: calls.append(graph) or calibrate(graph))
    for split in ("val", "test", "val"):
        assert (own.evaluate(subnets, split)["error"] == expected[split]).all()
    assert len(calls) == 3


def test_changed_weights_are_calibrated_anew(own, rng):
    subnets = own.supernet.space.subnets(own.supernet.space.sample(1, rng))
    before = own.evaluate(subnets)["cross_entropy"]
    with torch.no_grad():
        own.supernet.shared["stem/conv/weight"].mul_(3.0)  # batch norms undo it, where they are calibrated anew
    assert own.evaluate(subnets)["cross_entropy"] == pytest.approx(before, rel=1e-2)
    with torch.no_grad():
        own.supernet.shared["head/linear/bias"][0].add_(9.0)
    assert own.evaluate(subnets)["cross_entropy"] > before + 1
