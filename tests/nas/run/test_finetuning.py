import json

import pandas as pd
import pytest
import torch

from nas.cli.command import main
from nas.objectives.supernet_evaluator import SupernetEvaluator
from nas.run.stages.finetune import finetune, largest_as_teacher
from nas.supernet.supernet import Supernet
from search_spaces.errors import MeasurementError
from search_spaces.space.baselines import uniform_genome


def test_a_subnet_is_trained_on_and_exported(run, capsys):
    row = pd.read_csv(run / "baselines.csv").set_index("baseline").loc["w4a4 largest"]
    assert main(["finetune", str(run), row["id"], "--epochs", "4", "--lr", "0.02"]) == 0
    out = capsys.readouterr().out
    folder = run / "finetuned" / row["id"]
    measured = json.loads((folder / "subnet.json").read_text())["measured"]
    assert measured["error_val_before"] == pytest.approx(row["error_val"])
    assert measured["error_test_before"] == pytest.approx(row["error_test"])
    assert measured["error_val"] < measured["error_val_before"]
    assert f"validation error {measured['error_val_before']:.2f} -> {measured['error_val']:.2f} %" in out
    assert json.loads((folder / "parity.json").read_text())["integer_mismatches"] == 0
    assert measured["latency_ms"] == pytest.approx(row["latency_ms"])


def test_a_rate_that_destroys_is_rolled_back_at_once(evaluator, task, digits, make_schedule, tmp_path, monkeypatch):
    monkeypatch.setattr("nas.training.trainer.SLOWER", 0.9)
    supernet = Supernet(evaluator.supernet.space)
    supernet.load_state_dict(evaluator.supernet.state_dict())
    space = supernet.space
    subnet = space.subnet(uniform_genome(space, "largest", "w8a8"))
    plan = {"epochs": 1, "seed": 0, "checkpoint": tmp_path / "c", "identity": {}}
    with pytest.raises(MeasurementError, match="training collapses in epoch 1 even at 0.729 of the learning rate"):
        finetune(SupernetEvaluator(supernet, task, digits), subnet, make_schedule(clip_norm=1e9), learning_rate=10.0, **plan)


def test_what_is_in_the_way_is_found_before_training(run, capsys, monkeypatch):
    row = pd.read_csv(run / "baselines.csv").iloc[0]
    monkeypatch.setattr(SupernetEvaluator, "evaluate", None)  # nothing may be measured
    (run / "mine").mkdir()
    (run / "mine" / "file").touch()
    assert main(["finetune", str(run), row["id"], "--to", str(run / "mine")]) == 2
    assert "exists already and is not empty" in capsys.readouterr().err
    assert main(["finetune", str(run), "0123456789"]) == 2
    assert "has measured no subnet '0123456789'" in capsys.readouterr().err
    for option, value in (("--epochs", "0"), ("--lr", "0"), ("--lr", "nan")):
        assert main(["finetune", str(run), row["id"], option, value]) == 2
        assert f"{option} must be" in capsys.readouterr().err


def test_the_teacher_stays_as_it_was(evaluator, task, digits):
    supernet = Supernet(evaluator.supernet.space)
    supernet.load_state_dict(evaluator.supernet.state_dict())
    teacher = largest_as_teacher(SupernetEvaluator(supernet, task, digits))
    images = torch.from_numpy(digits.val["images"][:8])
    before = teacher(images)
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.add_(1.0)
    assert (teacher(images) == before).all()
