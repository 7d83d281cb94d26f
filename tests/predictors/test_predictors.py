import numpy as np
import pytest
from sklearn.base import clone

from predictors import PREDICTORS, cross_validate, encode, ranking_quality
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
