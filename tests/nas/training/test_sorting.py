"""A decoder whose largest network was trained alone is sorted, with all that its optimizer keeps, when smaller ones join."""

import numpy as np
import pytest
import torch

from nas.data.dataset import Dataset
from nas.supernet.sorting import orders_of_importance
from nas.supernet.supernet import Supernet
from nas.tasks.language import Language
from nas.training.schedule import Schedule
from nas.training.trainer import train
from search_spaces import SPACES
from search_spaces.graph.tensor import TensorSpec
from search_spaces.space.baselines import uniform_genome


@pytest.fixture
def text():
    tokens = np.random.default_rng(0).integers(0, 64, (48, 17)) // 2
    split = {"tokens": tokens[:, :-1], "next_tokens": tokens[:, 1:], "mean_bytes": np.full(48, 16, np.float32)}
    return Dataset("made", split, split, split, {"vocabulary": 32, "context": 16})


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_training_goes_on_as_if_nothing_had_been_sorted(text, optimizer, tmp_path, monkeypatch):
    space = SPACES.get("decoder-tiny")((16,), TensorSpec("logits", (16, 32)), ["float32", "w8a8d-g32"])
    settings = {"optimizer": optimizer, "learning_rate": 0.003, "warmup_epochs": 0, "compile": False, "batch_size": 16}
    schedule = Schedule(float_epochs=2, quantized_epochs=0, shrink_start=0.5, n_random=0, **settings)
    largest = space.subnet(uniform_genome(space, "largest")).graph
    alone = {"seed": 0, "identity": {}, "sample": lambda epoch, rng: [largest]}
    task, losses, supernets = Language.of(text), [], []
    for sorts in (True, False):
        if not sorts:
            monkeypatch.setattr("nas.training.trainer._sort", lambda *arguments: None)
        supernets.append(Supernet(space))
        records = train(supernets[-1], task, text, schedule, checkpoint=tmp_path / str(sorts), **alone)
        losses.append([record["loss"] for record in records])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    name = "layer2/mlp/gate/weight"
    first, second = (supernet.shared[name].detach() for supernet in supernets)
    assert not torch.allclose(first, second, atol=1e-3)
    assert torch.allclose(first.square().sum(dim=1).sort()[0], second.square().sum(dim=1).sort()[0], rtol=0.05)


@pytest.mark.parametrize("share", [0.45, 0.5, 0.99])
def test_it_is_sorted_once_wherever_the_others_join(text, share, tmp_path, monkeypatch):
    space = SPACES.get("decoder-tiny")((16,), TensorSpec("logits", (16, 32)), ["float32"])
    schedule = Schedule(
        float_epochs=2,
        quantized_epochs=0,
        shrink_start=share,
        n_random=0,
        compile=False,
        batch_size=20,
        optimizer="adam",
        learning_rate=0.001,
    )
    sorted_at = []
    monkeypatch.setattr("nas.training.trainer._sort", lambda *arguments: sorted_at.append(1))
    train(Supernet(space), Language.of(text), text, schedule, seed=0, checkpoint=tmp_path / "c", identity={})
    assert len(sorted_at) == (share < 0.9)


def test_the_order_is_the_identity_once_it_is_sorted(text):
    space = SPACES.get("decoder-tiny")((16,), TensorSpec("logits", (16, 32)), ["float32"])
    supernet, windows = Supernet(space), torch.from_numpy(text.train["tokens"][:8])
    for permutation in orders_of_importance(supernet, windows):
        permutation.sort(supernet.shared[permutation.weight].detach())
    again = orders_of_importance(supernet, windows)
    assert all((each.places == torch.arange(len(each.places))).all() for each in again)
