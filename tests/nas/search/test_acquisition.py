import numpy as np
import pytest

from nas.search.acquisition import choose_by_expected_gain, choose_by_gain, expected_gain
from nas.search.pareto import hypervolume

MEASURED = np.array([[1.0, 4.0], [2.0, 2.0], [4.0, 1.0], [3.0, 3.0], [2.0, 2.0], [9.0, 0.5]])
REFERENCE = np.array([5.0, 5.0])


def test_certain_candidates_gain_what_the_hypervolume_says():
    candidates = np.array([[1.5, 3.0], [0.5, 0.5], [2.0, 2.0], [4.5, 4.5], [6.0, 0.1], [3.0, 1.5]])
    gain = expected_gain(candidates, np.zeros_like(candidates), MEASURED, REFERENCE)
    before = hypervolume(MEASURED, REFERENCE)
    true = [hypervolume(np.vstack([MEASURED, point]), REFERENCE) - before for point in candidates]
    assert gain == pytest.approx(true, abs=1e-6)


def test_uncertain_candidates_gain_the_mean_over_many_draws(rng):
    mean, deviation = np.array([[2.5, 2.5]]), np.array([[0.8, 0.5]])
    before = hypervolume(MEASURED, REFERENCE)
    draws = rng.normal(mean, deviation, (4000, 2))
    sampled = np.mean([hypervolume(np.vstack([MEASURED, draw]), REFERENCE) - before for draw in draws])
    assert expected_gain(mean, deviation, MEASURED, REFERENCE)[0] == pytest.approx(sampled, rel=0.1)


def test_without_anything_measured_inside_the_whole_box_counts():
    outside = np.array([[6.0, 6.0]])
    assert expected_gain(np.array([[4.0, 3.0]]), np.zeros((1, 2)), outside, REFERENCE) == pytest.approx([2.0])


def test_one_after_another_each_counts_the_ones_before():
    candidates = np.array([[1.4, 3.0], [1.41, 3.01], [3.0, 1.4], [4.9, 4.9]])
    chosen = choose_by_expected_gain(candidates, np.full((4, 2), 0.01), MEASURED, REFERENCE, 2)
    assert sorted(chosen) == [0, 2]
    assert sorted(choose_by_gain(candidates, MEASURED, 2)) == [0, 2]
    assert sorted(choose_by_expected_gain(candidates, np.full((4, 2), 0.01), MEASURED, REFERENCE, 9)) == [0, 1, 2, 3]
