from functools import partial

import numpy as np
import pytest
from sklearn.base import clone

from nas.testing import check_predictor
from predictors import (
    PREDICTORS,
    Features,
    LearningCurve,
    RankingMetrics,
    ResidualPredictor,
    assess,
    build_predictor,
    choose_predictor,
    column_groups,
    cross_validate,
    encode,
    learning_curve,
    linear_table,
    ranking_metrics,
    tune_predictor,
    with_prior,
)
from predictors.models.gaussian_process import GaussianProcessPredictor
from predictors.selection import score
from search_spaces import Choice, InvalidInputError, TabularSpace
from search_spaces.space.baselines import uniform_genome


def data(space, n, rng, noise=0.0):
    features = encode(space, space.sample(n, rng))
    weights = np.random.default_rng(7).normal(size=features.shape[1])
    return features, features @ weights + noise * rng.normal(size=n)


@pytest.mark.parametrize("name", list(PREDICTORS))
def test_every_predictor_keeps_the_contract(name, tiny_space):
    check_predictor(partial(build_predictor, name, Features(tiny_space)), tiny_space)


def test_inactive_choices_are_all_zero(tiny_space):
    shallow = uniform_genome(tiny_space, "smallest", "w8a8")[None]
    features = encode(tiny_space, shallow)
    groups = column_groups(tiny_space)
    assert features.shape[1] == len(groups)
    for gene, (choice, active) in enumerate(zip(tiny_space.choices, tiny_space.mask(shallow)[0], strict=True)):
        columns = features[0, groups == gene]
        assert columns[: len(choice.options)].sum() == active
        assert (columns == 0).all() or active


def test_alike_choices_share_counts():
    blocks = [Choice(f"block{i}/kernel", (3, 5)) for i in range(4)]
    space = TabularSpace([*blocks, Choice("bits", ("w4", "w8", "w16")), Choice("width", (3, 5))])
    features = encode(space, np.array([[0, 1, 1, 1, 2, 0]], np.int16))[0]
    groups = column_groups(space)
    assert features[groups >= 6].tolist() == [0.5, 1.5]  # one and three of four kernels, over the root of four
    assert features[groups == 4].tolist() == [0, 0, 1]  # names have no order
    assert features[groups == 5].tolist() == [1, 0, 0]  # option 3, at place 0 of 0..1


def test_quality_by_hand():
    true = np.arange(40.0)
    swapped = true.copy()
    swapped[[0, 1]] = swapped[[1, 0]]
    metrics = ranking_metrics(swapped, true)
    assert metrics.n == 40
    assert metrics.tau == pytest.approx(1 - 2 / (40 * 39 / 2))
    assert metrics.tau_top == pytest.approx(1 - 2 / 45)
    assert np.isnan(ranking_metrics(np.zeros(20), true[:20]).tau)


def test_cross_validation_predicts_only_unseen_networks(tiny_space, rng):
    x, _ = data(tiny_space, 100, rng)
    metrics = cross_validate(partial(build_predictor, "ridge"), x, rng.normal(size=100))
    assert abs(metrics.tau) < 0.25


def test_a_fitted_line_is_a_table(tiny_space, rng):
    genomes = tiny_space.sample(200, rng)
    features = Features(tiny_space)
    x, y = features(genomes), rng.normal(size=200)
    ridge = build_predictor("ridge").fit(x, y)
    table = linear_table(features, ridge)
    assert table(genomes) == pytest.approx(ridge.predict(x))
    constant = build_predictor("ridge").fit(x, np.full(200, 2.0))
    assert linear_table(features, constant)(genomes) == pytest.approx(np.full(200, 2.0))
    with pytest.raises(InvalidInputError, match="was fitted on 3 features, not on the [0-9]+ of space 'tiny'"):
        linear_table(features, build_predictor("ridge").fit(x[:, :3], y))


def test_the_better_predictor_is_chosen(tiny_space, rng):
    x, y = data(tiny_space, 80, rng)
    name, all_metrics = choose_predictor(Features(tiny_space), x, y, ["trees", "ridge"])
    assert name == "ridge"
    assert all_metrics["ridge"].tau > all_metrics["trees"].tau
    assert choose_predictor(Features(tiny_space), x[:10], y[:10]) == ("gaussian_process", {})


def test_learning_curves_advise(tiny_space, rng):
    x, y = data(tiny_space, 60, rng)
    growing = learning_curve(partial(build_predictor, "ridge"), x, y, rng)
    assert growing.sizes == (6, 12, 24, 48)
    assert growing.taus[-1] > growing.taus[0]
    flat = LearningCurve((10, 20), (0.9, 0.9))
    assert flat.advice == "more measurements would hardly help: the last doubling changed tau by +0.00"
    assert LearningCurve((10, 20), (0.5, 0.7)).advice == "measure 20 more: the last doubling raised tau by 0.20"
    assert LearningCurve((10, 20), (0.5, 0.7)).more == 20
    assert not flat.more
    assert RankingMetrics(0.5, np.nan, 30).words == "Kendall tau 0.50 on 30 networks, undefined (ties) among the best tenth"
    assert "too few networks" in LearningCurve((10, 20), (np.nan, 0.7)).advice


def test_a_float_predictor_saves_quantized_measurements(tiny_space, rng):
    """The quantized error is the float error and a little: what the float predictor knows need not be learned again."""
    genomes = tiny_space.sample(400, rng)
    x = encode(tiny_space, genomes)
    weights = np.random.default_rng(7).normal(size=x.shape[1])
    float_error = (x @ weights) ** 2
    error = float_error + 0.2 * x @ np.random.default_rng(8).normal(size=x.shape[1])
    few, rest = np.arange(25), np.arange(25, 400)
    error += 0.1 * rng.normal(size=400)
    alone = build_predictor("ridge").fit(x[few], error[few]).predict(x[rest])
    both = with_prior(x, float_error)
    corrected = ResidualPredictor(build_predictor("ridge")).fit(both[few], error[few])
    mean, std = corrected.predict(both[rest], return_std=True)
    assert (std >= 0).all()
    assert ranking_metrics(mean, error[rest]).tau > ranking_metrics(alone, error[rest]).tau + 0.05


def test_the_gradient_of_the_gaussian_process(tiny_space, rng):
    x, y = data(tiny_space, 30, rng, noise=0.1)
    model = GaussianProcessPredictor(column_groups(tiny_space), 9).fit(x, y)
    z = (y - model.mean_) / model.spread_
    theta = rng.normal(size=len(model.theta_)) - 1
    found = model._loss(theta, x, z)[1]
    step = 1e-5 * np.eye(len(theta))
    expected = [(model._loss(theta + d, x, z)[0] - model._loss(theta - d, x, z)[0]) / 2e-5 for d in step]
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_a_gaussian_process_is_sure_only_near_what_it_has_seen(tiny_space, rng):
    x, y = data(tiny_space, 120, rng)
    model = GaussianProcessPredictor(column_groups(tiny_space)).fit(x[:60], y[:60])
    mean, std = model.predict(x, return_std=True)
    assert mean[:60] == pytest.approx(y[:60], abs=0.2 * y.std())
    assert std[:60].mean() < 0.7 * std[60:].mean()
    assert np.mean(np.abs(mean - y)[60:] < 3 * std[60:]) > 0.9
    with pytest.raises(ValueError, match="one group for each of .* features, got 3"):
        GaussianProcessPredictor(np.arange(3)).fit(x, y)


@pytest.mark.parametrize("name", ["trees", "mlp", "ridge"])
def test_tuning_never_ranks_worse_than_no_tuning(name, tiny_space, rng):
    x, y = data(tiny_space, 40, rng, noise=0.5)
    tuned = tune_predictor(name, Features(tiny_space), x, y, n_trials=3, rng=rng)
    assert score(cross_validate(lambda: clone(tuned), x, y)) >= score(
        cross_validate(partial(build_predictor, name, Features(tiny_space)), x, y)
    )


def test_what_finds_its_own_parameters_is_not_tuned(tiny_space, rng):
    x, y = data(tiny_space, 20, rng)
    tuned = tune_predictor("gaussian_process", Features(tiny_space), x, y, n_trials=3, rng=rng)
    assert tuned.members[0].get_params()["weight"] == (-1.5, 0.5)


def test_a_judgement_names_predictor_quality_and_advice(tiny_space, rng):
    genomes = np.unique(tiny_space.sample(80, rng), axis=0)
    y = encode(tiny_space, genomes) @ np.random.default_rng(7).normal(size=len(column_groups(tiny_space)))
    found = assess(Features(tiny_space), genomes, y, "ridge")
    assert found.name == "ridge"
    assert found.metrics.tau > 0.8
    assert "more" in found.curve.advice
    assert assess(Features(tiny_space), genomes[:19], y[:19]) is None
