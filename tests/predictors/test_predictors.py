import numpy as np
import pytest
from sklearn.base import clone

from predictors import (
    PREDICTORS,
    LearningCurve,
    ResidualPredictor,
    choose_predictor,
    cross_validate,
    encode,
    learning_curve,
    linear_table,
    ranking_quality,
    with_prior,
)
from search_spaces import InvalidInput
from search_spaces.baselines import uniform_genome


def data(space, n, rng, noise=0.0):
    features = encode(space, space.sample(n, rng))
    weights = np.random.default_rng(7).normal(size=features.shape[1])
    return features, features @ weights + noise * rng.normal(size=n)


@pytest.mark.parametrize("name", list(PREDICTORS))
class TestContract:
    def test_learns_a_line_and_says_how_sure(self, name, tiny_space, rng):
        x, y = data(tiny_space, 300, rng)
        predictor = PREDICTORS.get(name)().fit(x[:200], y[:200])
        mean, std = predictor.predict(x[200:], return_std=True)
        assert mean.shape == std.shape == (100,)
        assert (std >= 0).all()
        assert (predictor.predict(x[200:]) == mean).all()
        assert ranking_quality(mean, y[200:]).tau > 0.8

    def test_can_be_cloned_and_fitted_again(self, name, tiny_space, rng):
        x, y = data(tiny_space, 60, rng, noise=0.1)
        predictor = PREDICTORS.get(name)()
        first = predictor.fit(x, y).predict(x)
        assert (clone(predictor).fit(x, y).predict(x) == first).all()
        assert (predictor.fit(x, y).predict(x) == first).all()

    def test_constant_target(self, name, tiny_space, rng):
        x, _ = data(tiny_space, 20, rng)
        mean, std = PREDICTORS.get(name)().fit(x, np.full(20, 3.0)).predict(x, return_std=True)
        assert mean == pytest.approx(np.full(20, 3.0))
        assert np.isfinite(std).all()

    def test_refuses_what_is_not_finite(self, name, tiny_space, rng):
        x, y = data(tiny_space, 20, rng)
        y[3] = np.nan
        with pytest.raises(ValueError, match="NaN"):
            PREDICTORS.get(name)().fit(x, y)


def test_inactive_choices_are_all_zero(tiny_space):
    shallow = uniform_genome(tiny_space, "smallest", "w8a8")[None]
    features = encode(tiny_space, shallow)
    assert features.shape[1] == sum(n + 1 for n in tiny_space.cardinalities)
    start = 0
    for choice, active in zip(tiny_space.choices, tiny_space.mask(shallow)[0], strict=True):
        width = len(choice.options) + 1
        assert features[0, start : start + width - 1].sum() == active
        start += width


def test_quality_by_hand():
    true = np.arange(40.0)
    swapped = true.copy()
    swapped[[0, 1]] = swapped[[1, 0]]
    quality = ranking_quality(swapped, true)
    assert quality.n == 40
    assert quality.tau == pytest.approx(1 - 2 / (40 * 39 / 2))
    assert quality.tau_top == pytest.approx(1 - 2 / 45)
    assert np.isnan(ranking_quality(np.zeros(20), true[:20]).tau)


def test_cross_validation_predicts_only_unseen_networks(tiny_space, rng):
    x, _ = data(tiny_space, 100, rng)
    quality = cross_validate(PREDICTORS.get("ridge"), x, rng.normal(size=100))
    assert abs(quality.tau) < 0.25


def test_a_fitted_line_is_a_table(tiny_space, rng):
    genomes = tiny_space.sample(200, rng)
    x, y = encode(tiny_space, genomes), rng.normal(size=200)
    ridge = PREDICTORS.get("ridge")().fit(x, y)
    table = linear_table(tiny_space, ridge)
    assert table(genomes) == pytest.approx(ridge.predict(x))
    constant = PREDICTORS.get("ridge")().fit(x, np.full(200, 2.0))
    assert linear_table(tiny_space, constant)(genomes) == pytest.approx(np.full(200, 2.0))
    with pytest.raises(InvalidInput, match="was fitted on 3 features, not on space 'tiny'"):
        linear_table(tiny_space, PREDICTORS.get("ridge")().fit(x[:, :3], y))


def test_the_better_predictor_is_chosen(tiny_space, rng):
    x, y = data(tiny_space, 80, rng)
    name, qualities = choose_predictor(x, y, ["trees", "ridge"])
    assert name == "ridge"
    assert qualities["ridge"].tau > qualities["trees"].tau
    assert choose_predictor(x[:10], y[:10]) == ("ridge", {})


def test_learning_curves_advise(tiny_space, rng):
    x, y = data(tiny_space, 60, rng)
    growing = learning_curve(PREDICTORS.get("ridge"), x, y, rng)
    assert growing.sizes == (6, 12, 24, 48)
    assert growing.taus[-1] > growing.taus[0]
    flat = LearningCurve((10, 20), (0.9, 0.9))
    assert flat.advice == "more measurements would hardly help: the last doubling changed tau by +0.00"
    assert LearningCurve((10, 20), (0.5, 0.7)).advice == "measure 20 more: the last doubling raised tau by 0.20"
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
    alone = PREDICTORS.get("ridge")().fit(x[few], error[few]).predict(x[rest])
    both = with_prior(x, float_error)
    corrected = ResidualPredictor(PREDICTORS.get("ridge")()).fit(both[few], error[few])
    mean, std = corrected.predict(both[rest], return_std=True)
    assert (std >= 0).all()
    assert ranking_quality(mean, error[rest]).tau > ranking_quality(alone, error[rest]).tau + 0.05
