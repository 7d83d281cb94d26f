import itertools

import numpy as np
import pytest

from nas.search.acquisition import (
    Prediction,
    Scale,
    choose_by_expected_gain,
    expected_gain,
    reference_point,
    sampled_gain,
)
from nas.search.pareto import hypervolume

MEASURED = np.array([[1.0, 4.0], [2.0, 2.0], [4.0, 1.0], [3.0, 3.0], [2.0, 2.0], [9.0, 0.5]])
REFERENCE = np.array([5.0, 5.0])


def predictions(mean, deviation, scale=None):
    """One normal an objective, of arrays of shape `(k, m)`."""
    deviation = np.broadcast_to(deviation, mean.shape)
    return [Prediction(m[None], d[None], scale) for m, d in zip(mean.T, deviation.T, strict=True)]


def test_certain_candidates_gain_what_the_hypervolume_says():
    candidates = np.array([[1.5, 3.0], [0.5, 0.5], [2.0, 2.0], [4.5, 4.5], [6.0, 0.1], [3.0, 1.5]])
    gain = expected_gain(predictions(candidates, 0.0), MEASURED, REFERENCE)
    before = hypervolume(MEASURED, REFERENCE)
    true = [hypervolume(np.vstack([MEASURED, point]), REFERENCE) - before for point in candidates]
    assert gain == pytest.approx(true, abs=1e-6)


def test_uncertain_candidates_gain_the_mean_over_many_draws(rng):
    mean, deviation = np.array([[2.5, 2.5]]), np.array([[0.8, 0.5]])
    before = hypervolume(MEASURED, REFERENCE)
    draws = rng.normal(mean, deviation, (4000, 2))
    sampled = np.mean([hypervolume(np.vstack([MEASURED, draw]), REFERENCE) - before for draw in draws])
    assert expected_gain(predictions(mean, deviation), MEASURED, REFERENCE)[0] == pytest.approx(sampled, rel=0.1)


def test_without_anything_measured_inside_the_whole_box_counts():
    outside = np.array([[6.0, 6.0]])
    assert expected_gain(predictions(np.array([[4.0, 3.0]]), 0.0), outside, REFERENCE) == pytest.approx([2.0])


def test_on_a_logarithmic_scale_the_gain_is_that_of_log_normal_draws(rng):
    scale = Scale(0.5)
    mean, deviation = np.array([[np.log(3.0), np.log(2.5)]]), np.array([[0.3, 0.2]])
    before = hypervolume(MEASURED, REFERENCE)
    draws = scale.inverse(rng.normal(mean, deviation, (4000, 2)))
    sampled = np.mean([hypervolume(np.vstack([MEASURED, draw]), REFERENCE) - before for draw in draws])
    gain = expected_gain(predictions(mean, deviation, scale), MEASURED, REFERENCE)[0]
    assert gain == pytest.approx(sampled, rel=0.1)


def test_scales_turn_back_and_take_zeros():
    for y in (np.array([0.2, 3.0]), np.array([0.0, 3.0]), np.array([-1.0, -1.0])):
        scale = Scale.of(y)
        assert scale.inverse(scale.forward(y)) == pytest.approx(y)
    assert Scale.of(np.array([0.2, 3.0])).shift == 0


def test_with_three_objectives_the_gain_is_sampled():
    there = np.array([[0.0, 4.0, 4.0], [4.0, 0.0, 4.0], [4.0, 4.0, 0.0]])
    mean = np.array([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0], [5.0, 5.0, 5.0], [4.1, 4.1, 4.1]])
    tiny = np.full_like(mean, 1e-9)
    reference = np.array([4.5, 4.5, 4.5])
    gain = sampled_gain(predictions(mean, tiny), mean, there, reference)
    before = hypervolume(there / 4.5, np.ones(3))
    assert gain[0] == pytest.approx(hypervolume(np.vstack([there, mean[0]]) / 4.5, np.ones(3)) - before)
    assert gain.argsort()[::-1].tolist() == [0, 1, 3, 2]
    unsure = np.array([[0.0, 0.0, 2.0]] * 4)
    assert sampled_gain(predictions(mean, unsure), mean, there, reference)[1] > 0
    assert choose_by_expected_gain(predictions(mean, tiny), there, 2) == [0, 1]


def test_one_after_another_each_counts_the_ones_before():
    candidates = np.array([[1.4, 3.0], [1.41, 3.01], [3.0, 1.4], [4.9, 4.9]])
    objectives = predictions(candidates, 0.01)
    chosen = choose_by_expected_gain(objectives, MEASURED, 2)
    assert sorted(chosen) == [0, 2]
    assert sorted(choose_by_expected_gain(objectives, MEASURED, 9)) == [0, 1, 2, 3]


def test_a_faulty_measurement_is_held_near_the_others():
    y = np.array([5.0, 6.0, 7.0, 8.0, 9.0, 5.5, 6.5, 7.5, 8.5, 1e-3])
    scaled = Scale.of(y).forward(y)
    assert scaled[:9] == pytest.approx(np.log(y[:9]))
    assert scaled[9] > np.log(1.0)


def test_the_reference_leaves_outliers_out():
    measured = np.column_stack([np.r_[np.linspace(30, 40, 12), 99.0], np.linspace(1, 2, 13)])
    reference = reference_point(measured, [Scale(), None])
    assert 40 < reference[0] < 99
    assert reference[1] == pytest.approx(2.0)
    assert reference_point(measured[-3:], [Scale(), None])[0] == pytest.approx(99.0)


def test_of_a_mixture_the_gain_is_the_mean_over_its_members(rng):
    means, deviations = rng.normal(2, 1, (2, 3, 5)), rng.uniform(0.1, 1, (2, 3, 5))
    both = [Prediction(m, d) for m, d in zip(means, deviations, strict=True)]
    members = [[Prediction(m[None], d[None]) for m, d in zip(each.means, each.deviations, strict=True)] for each in both]
    alone = [expected_gain(pair, MEASURED, REFERENCE) for pair in itertools.product(*members)]
    assert expected_gain(both, MEASURED, REFERENCE) == pytest.approx(np.mean(alone, axis=0))
    assert both[0].deviation == pytest.approx(np.sqrt((deviations[0] ** 2).mean(axis=0) + means[0].var(axis=0)))
