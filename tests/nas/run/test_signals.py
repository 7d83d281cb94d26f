"""Runs that learn from signals of their supernet and from earlier runs."""

import numpy as np
import pytest
import torch

import nas
from nas.cli import main
from nas.objectives.signals import SIGNALS, AbsoluteLayers
from nas.objectives.supernet_evaluator import SupernetEvaluator
from nas.supernet.executor import execute
from nas.tasks.classification import Classification
from search_spaces import InvalidInputError


@pytest.fixture(scope="module")
def evaluator(trained, digits):
    return SupernetEvaluator(trained, Classification.of(digits), digits, n_calibration=200)


@pytest.mark.parametrize("name", [name for name in SIGNALS if name != "fisher"])  # which is of text: tests/nas/pretrained
def test_every_signal_gives_finite_numbers_and_changes_nothing(name, evaluator, rng):
    before = {key: tensor.clone() for key, tensor in evaluator.supernet.state_dict().items()}
    genomes = evaluator.supernet.space.sample(4, rng)
    signal = SIGNALS.get(name)(evaluator)
    values = signal.values(genomes)
    assert values.reshape(4, -1).shape == (4, signal.n_columns)
    assert np.isfinite(values).all()
    assert (signal.values(genomes) == values).all()
    assert np.ptp(values, axis=0).max() > 0
    assert not signal.is_free
    assert all((evaluator.supernet.state_dict()[key] == tensor).all() for key, tensor in before.items())


def test_the_uncalibrated_loss_is_that_of_the_batch(evaluator, digits, rng):
    subnet = evaluator.supernet.space.subnet(evaluator.supernet.space.sample(1, rng)[0])
    with torch.no_grad():
        output = evaluator.supernet(torch.from_numpy(digits.val["images"][:512]), subnet.graph)
    loss = torch.nn.functional.cross_entropy(output, torch.from_numpy(digits.val["labels"][:512]))
    found = SIGNALS.get("loss")(evaluator).values(subnet.genome[None])
    assert found[0] == pytest.approx(np.log(float(loss)), rel=1e-3)


def test_synflow_is_what_its_gradients_add_up_to(evaluator, rng):
    space, supernet = evaluator.supernet.space, evaluator.supernet
    subnet = space.subnet(space.sample(1, rng)[0])
    value = SIGNALS.get("synflow")(evaluator).values(subnet.genome[None])[0]
    ones = torch.ones(1, *subnet.graph.input_shape, dtype=torch.float64)
    flow = execute(subnet.graph, ones, AbsoluteLayers(supernet)).abs().sum()
    name = next(name for name in supernet.shared if name.startswith("stem") and "weight" in name)
    weight = supernet.shared[name]
    (gradient,) = torch.autograd.grad(flow, [weight])
    assert float((weight * gradient).sum().detach()) == pytest.approx(np.exp(value), rel=1e-4)


WORDS = ["--set", "search.objectives=[error, size_bytes]", "--set", "search.n_measurements=24", "--set", "search.noise=0"]


def searched(run, *changes):
    (run / "archive.db").unlink()
    assert main(["search", str(run), *WORDS, *(word for change in changes for word in ("--set", change))]) == 0
    return nas.open_run(run)


def test_a_search_learns_from_signals(run):
    options = "search.strategy={name: predictor, options: {predictors: gaussian_process, screened: 1}}"
    found = searched(run, "search.signals=[loss, synflow]", options)
    front = found.front()
    assert {"error_val", "cross_entropy_val", "error_test", "cross_entropy_test"} <= set(front)
    assert front[["cross_entropy_val", "cross_entropy_test"]].notna().all(axis=None)
    assert len(found.archives.genomes()) == 24
    values = front[["cross_entropy_val", "size_bytes"]].to_numpy()
    assert not any(((values <= row).all(axis=1) & (values < row).any(axis=1)).any() for row in values)


def test_a_search_by_effects_measures_the_front_of_a_line(run):
    found = searched(run, "search.signals=[loss]", "search.strategy={name: effects, options: {screened: 2}}")
    assert len(found.archives.genomes()) == 24


def test_a_search_begins_with_what_another_run_has_measured(finished, run, failing):
    found = searched(run, f"search.prior={finished}")
    assert found.experiment.search.prior == str(finished)
    assert len(found.archives.genomes()) == 24
    assert "gone" in failing(["search", run, "--set", f"search.prior={run / 'gone'}"])


def test_a_prior_needs_the_same_choices_and_enough_measurements(finished, run, tmp_path, failing, monkeypatch):
    monkeypatch.setattr("nas.run.signals.ENOUGH", 1000)
    message = failing(["search", run, "--set", f"search.prior={finished}"])
    assert "has measured 16 networks; 1000 are needed" in message
    vit = tmp_path / "vit"
    experiment = {"name": "vit", "space": "vit-digits", "data": {"name": "digits", "n_val": 360}, "devices": {}}
    nas.Run.create(experiment, vit)
    assert "is of a space with other choices" in failing(["search", run, "--set", f"search.prior={vit}"])


def test_a_run_is_no_prior_of_itself_and_its_path_is_kept_whole(run, failing, monkeypatch):
    monkeypatch.chdir(run.parent)
    assert "cannot be its own prior" in failing(["search", run, "--set", "search.prior=run"])
    assert nas.open_run(run).experiment.search.prior == str(run)
    assert "did you mean 'loss'" in failing(["search", run, "--set", "search.signals=[los]"])
    assert nas.open_run(run).experiment.search.signals == ()


def test_without_a_number_of_validation_samples_that_of_the_data_counts(tmp_path):
    experiment = {"name": "x", "space": "mobilenet-digits", "devices": {}, "data": {"name": "digits"}}
    run = nas.Run.create(experiment, tmp_path / "x")
    assert run.archives.n_val == run.data.size("val") > 200


def test_an_order_needs_a_loss(tmp_path):
    experiment = {"name": "x", "task": "regression", "data": {"name": "rotated_digits"}, "search": {"order": "loss"}}
    with pytest.raises(InvalidInputError, match="search.order: the RMSE has no loss beside it"):
        nas.Run.create({**experiment, "space": "mobilenet-digits"}, tmp_path / "x")


def test_unknown_signals_are_refused_with_those_that_there_are(tmp_path):
    experiment = {"name": "x", "space": "mobilenet-digits", "search": {"signals": ["sinflow"]}}
    with pytest.raises(
        nas.InvalidInputError if hasattr(nas, "InvalidInputError") else Exception, match="did you mean 'synflow'"
    ):
        nas.Run.create(experiment, tmp_path / "x")


def test_old_keys_of_predictors_are_options_of_the_strategy(tmp_path, caplog):
    experiment = {"name": "x", "space": "mobilenet-digits", "search": {"predictors": "ridge", "tuning_trials": 0}}
    found = nas.Run.create(experiment, tmp_path / "x")
    assert found.experiment.search.strategy.options == {"predictors": "ridge"}
    assert "search.predictors is an option of the strategy now" in caplog.text


def test_a_preference_names_one_network(finished, capsys, failing):
    assert main(["front", str(finished), "--prefer", "error=3,latency_ms=1", "--columns", "id", "--format", "csv"]) == 0
    told = capsys.readouterr()
    (network,) = told.out.split()[1:]
    run = nas.open_run(finished)
    assert run.front()["id"][run.recommend({"error": 3, "latency_ms": 1}).row] == network
    assert f"{network} is recommended by the weights validation error 3, latency 1" in " ".join(told.err.split())
    assert "weights are of objectives" in failing(["front", finished, "--prefer", "macs=1"])


def test_energy_is_refused_where_there_are_no_counters(tmp_path, failing, monkeypatch):
    monkeypatch.setattr("latency_tables.timing.energy.POWERCAP", tmp_path)
    assert "energy cannot be measured here" in failing(["bench", tmp_path, "--energy"])
