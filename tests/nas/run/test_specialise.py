"""Rounds around the front of a real run: trained on, searched anew, kept if they pay, resumed where they stopped."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import nas
from nas.cli.command import main
from nas.run.run import Run
from search_spaces import InvalidInputError
from search_spaces.errors import DamagedFileError, NotReadyError
from search_spaces.space.narrowing import NarrowedSpace

SHORT = ["specialise.float_epochs=1", "specialise.quantized_epochs=1", "search.n_measurements=14", "specialise.gain=0"]


def words(*changes):
    return [word for change in (*SHORT, *changes) for word in ("--set", change)]


@pytest.fixture(scope="module")
def specialised(finished, built_once):
    """A copy of the finished run with one round in it, not to be changed."""

    def build(folder):
        assert main(["specialise", str(finished), "--to", str(folder / "two"), *words()]) == 0

    return built_once("specialised", build) / "two"


def test_a_round_trains_around_the_front_and_is_searched_anew(finished, specialised):
    before, after = nas.open_run(finished), nas.open_run(specialised)
    rounds = after.folder.rounds.read()
    assert [each.number for each in rounds] == [1]
    assert after.folder.number == int(rounds[0].pays)
    assert rounds[0].training_minutes > 0 < rounds[0].search_minutes
    first = after.at(1)
    measured = {subnet.id for subnet in first.space.subnets(first.archives.genomes())}
    assert set(before.front()["id"]) <= measured
    assert set(before.baselines()["id"]) <= measured
    assert len(measured) >= 14
    assert before.folder.number == 0
    pd.testing.assert_frame_equal(before.front(), after.at(0).front())  # the copy holds what it began with
    assert (first.folder.state / "front.csv").exists()
    records = first.training_records()
    assert len(records) == 2


def test_the_command_tells_what_was_gained_and_export_follows(specialised, tmp_path, capsys):
    run = nas.open_run(specialised).at(1)
    baselines = run.baselines()  # which network is the best hangs on times, and few bits hardly trained may fail the proof
    exported = run.export(baselines.loc[baselines["baseline"] == "w8a8 largest", "id"].item(), tmp_path / "model")
    assert exported.verification["integer_mismatches"] == 0
    assert main(["verify", str(tmp_path / "model")]) == 0
    assert main(["specialise", str(specialised)]) == 0  # all rounds are done: nothing is trained
    out = capsys.readouterr().out
    assert "round 1: " in out
    assert "the front's hypervolume" in out
    page = (specialised / "report.html").read_text()
    assert "round 1" in page


def test_a_stopped_round_goes_on(finished, tmp_path, monkeypatch):
    class StoppedError(Exception):
        pass

    def stop(*args, **kwargs):
        raise StoppedError

    to = tmp_path / "two"
    with monkeypatch.context() as patched:
        patched.setattr("nas.run.run.search_run", stop)
        with pytest.raises(StoppedError):
            nas.open_run(finished).specialise(to, overrides=SHORT)
    assert nas.open_run(to).folder.number == 0
    trained = (to / "rounds" / "1" / "supernet.safetensors").read_bytes()
    run = Run.open(finished).specialise(to, overrides=SHORT)
    assert (to / "rounds" / "1" / "supernet.safetensors").read_bytes() == trained
    assert len(run.folder.rounds.read()) == 1


def test_workers_measure_the_round(finished, tmp_path):
    run = nas.open_run(finished).specialise(tmp_path / "two", overrides=SHORT, workers=2)
    alone = run.at(1)
    genomes, evaluator = alone.archives.genomes()[-2:], alone.evaluator()
    found = [row["error"] for row in alone.archives.validation.lookup(genomes)]
    assert found == pytest.approx(list(evaluator.measure(genomes)["error"]))


def test_a_round_that_does_not_pay_is_not_kept(finished, tmp_path, capsys):
    to = tmp_path / "two"
    few = words("specialise.rate=1e-6", "specialise.gain=9", "specialise.float_epochs=0", "specialise.quantized_epochs=1")
    assert main(["specialise", str(finished), "--to", str(to), "--rounds", "3", *few]) == 0
    assert "not kept: what was before it stays in force" in capsys.readouterr().out
    run = nas.open_run(to)
    assert len(run.folder.rounds.read()) == 1
    assert run.folder.number == 0
    pd.testing.assert_frame_equal(run.front(), nas.open_run(finished).front())


def test_a_narrowed_round_names_what_it_left_out(finished, tmp_path, capsys):
    to = tmp_path / "two"
    assert main(["specialise", str(finished), "--to", str(to), "--size", "300", *words("specialise.gain=0")]) == 0
    out, run = " ".join(capsys.readouterr().out.split()), nas.open_run(to).at(1)
    assert isinstance(run.space, NarrowedSpace)
    done = run.folder.rounds.read()[0]
    assert done.n_networks <= 300
    assert f"trained {done.n_networks} networks, formats aside; dropped: {done.drops[0][0]}" in out
    kept = {subnet.id for subnet in run.space.subnets(run.archives.genomes())}
    front = set(nas.open_run(finished).front()["id"])
    assert front <= kept | set(done.lost)
    for name in (*done.lost, *done.gone):
        assert name in out
    wide, narrow = (Run.open(to).at(number) for number in (0, 1))
    shapes = [sum(p.numel() for p in each.evaluator().supernet.shared.values()) for each in (wide, narrow)]
    assert shapes[1] < shapes[0]
    exported = narrow.export(narrow.best_id(), tmp_path / "model")
    assert exported.verification["integer_mismatches"] == 0
    assert main(["verify", str(tmp_path / "model")]) == 0


def test_the_second_round_begins_with_the_first_and_settings_may_change_between(finished, tmp_path, monkeypatch):
    monkeypatch.setattr("nas.run.stages.specialise._volumes", lambda before, after: (1.0, 2.0))
    run = nas.open_run(finished).specialise(tmp_path / "two", overrides=[*SHORT, "specialise.size=2000"])
    assert run.folder.number == 1
    again = run.specialise(tmp_path / "three", overrides=["specialise.rounds=2", "specialise.rate=0.1"])
    rates = [again.at(number).folder.schedule.learning_rate for number in (1, 2)]
    assert rates[0] == pytest.approx(10 * rates[1])
    assert again.space.choices == again.at(1).space.choices
    assert [n for n in again.baselines()["baseline"] if n.endswith("of the part")] or not again.folder.rounds.read()[0].gone
    exported = again.export(again.best_id(), tmp_path / "model")
    facts = json.loads((exported.folder / "subnet.json").read_text())
    assert facts["found"]["epochs"] == {"float": 4, "quantized": 3, "alone": 0}
    assert not set(facts["measured"]) & {choice.name for choice in again.space.named_choices}
    with pytest.raises(InvalidInputError, match="was narrowed to 2,000 networks before"):
        again.specialise(overrides=["specialise.rounds=3", "specialise.size=10"])
    rounds = again.folder.rounds.read()
    assert [each.number for each in rounds] == [1, 2]
    assert again.at(2).before.folder.number == 1
    weights = again.at(2).evaluator().supernet.shared["stem/conv/weight"].detach().numpy()
    start = again.at(1).evaluator().supernet.shared["stem/conv/weight"].detach().numpy()
    assert np.abs(weights - start).max() < np.abs(start).max()


def test_an_experiment_may_hold_its_rounds(tmp_path, quick):
    digits = str(Path(__file__).parents[3] / "experiments" / "digits.yaml")
    folder = tmp_path / "run"
    assert (
        main(
            [
                "run",
                digits,
                "--out",
                str(folder),
                *quick,
                *words("specialise.rounds=1", "devices={}", "search.objectives=[error,size_bytes]"),
            ]
        )
        == 0
    )
    run = nas.open_run(folder)
    assert len(run.folder.rounds.read()) == 1
    assert (run.folder.export_path(run.best_id()) / "model.onnx").exists()


def test_bad_input_is_named(finished, run, tmp_path, failing):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    assert "is no copy of" in failing(["specialise", finished, "--to", tmp_path / "mine"])
    assert "keeps the limits; search within them first" in failing(["specialise", run, "--max", "latency_ms=1e-6"])
    unknown = failing(["specialise", run, "--set", "specialise.sampler=fron"])
    assert "unknown sampler 'fron' (did you mean 'front'?)" in unknown
    assert "only keys of `search` and `specialise`" in failing(["specialise", run, "--set", "training.float_epochs=3"])
    digits = Path(__file__).parents[3] / "experiments" / "digits.yaml"
    message = failing(["train", digits, "--out", tmp_path / "x", "--set", "training.sampler=front"])
    assert "training.sampler: 'front' draws around the front of a search" in message
    (run / "rounds.json").write_text("[{}]")
    with pytest.raises(DamagedFileError, match=r"rounds.json' is damaged"):
        nas.open_run(run)
    (run / "rounds.json").unlink()
    with pytest.raises(InvalidInputError, match=r"specialise.gain must be in 0..10"):
        Run.open(run).specialise(overrides=["specialise.gain=-1"])
    (run / "front.csv").unlink()
    with pytest.raises(NotReadyError, match=r"has no front.csv yet"):
        Run.open(run).specialise()


def test_every_network_of_the_front_is_fine_tuned_once(run, capsys, monkeypatch, failing):
    front = pd.read_csv(run / "front.csv")
    (run / "front.csv").write_text(front.head(2).to_csv(index=False))
    monkeypatch.setattr("nas.run.folder.RunFolder._known_checksums", lambda self: _sums(self))
    assert main(["finetune", str(run), "--front", "--epochs", "1"]) == 0
    out = capsys.readouterr().out
    tuned = pd.read_csv(run / "finetuned.csv")
    assert list(tuned["id"]) == list(front["id"][:2])
    assert tuned["error_val_before"].to_numpy() == pytest.approx(front["error_val"].to_numpy()[:2])
    for name in tuned["id"]:
        assert json.loads((run / "finetuned" / name / "subnet.json").read_text())["measured"]["error_val"] >= 0
        assert name in out
    monkeypatch.setattr("nas.run.run.finetune", None)  # nothing is trained again
    assert main(["finetune", str(run), "--front", "--epochs", "1"]) == 0
    first, second = (run / "finetuned" / name / "subnet.json" for name in tuned["id"])
    content = json.loads(first.read_text())
    del content["found"]["finetuned"]  # as a version before wrote it
    first.write_text(json.dumps(content))
    otherwise = failing(["finetune", str(run), "--front", "--epochs", "1", "--lr", "0.003"])
    assert "1 of 2 networks were fine-tuned otherwise, the first with epochs 1, learning_rate 0.1, dist" in otherwise
    assert otherwise.endswith(f"ask for the same, or remove {second.parent}")
    assert "2 of 2 networks were fine-tuned otherwise" in failing(["finetune", str(run), "--front", "--epochs", "2"])
    second.write_text("{}")
    assert "is damaged" in failing(["finetune", str(run), "--front", "--epochs", "1"])


def _sums(folder):
    import hashlib

    files = (folder.front_csv, folder.baselines_csv)
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files)


def test_finetune_takes_one_subnet_or_the_front(run, failing):
    assert "takes the id of one subnet, or --front" in failing(["finetune", run])
    assert "takes the id of one subnet, or --front" in failing(["finetune", run, "0123456789", "--front"])
    assert "--distill must be in 0..1" in failing(["finetune", run, "0123456789", "--distill", "2"])
