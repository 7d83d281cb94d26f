import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.search.pareto import Front, hypervolume, knee, layers, non_dominated

numbers = st.sampled_from([0.0, 1.0, 2.0, 3.0, float("inf"), float("-inf")])


def brute_force(values):
    return [
        not any((other <= row).all() and (other < row).any() for other in values) for row in values
    ]  # a row is kept if none is as small everywhere and smaller somewhere


@given(st.integers(1, 4).flatmap(lambda m: st.lists(st.lists(numbers, min_size=m, max_size=m), min_size=1, max_size=12)))
def test_non_dominated_equals_brute_force_with_ties_and_infinities(rows):
    values = np.array(rows)
    assert non_dominated(values).tolist() == brute_force(values)


def test_one_row_and_none():
    assert non_dominated(np.array([[1.0, 2.0]])).tolist() == [True]
    assert non_dominated(np.empty((0, 2))).tolist() == []
    with pytest.raises(ValueError, match="must not be NaN"):
        non_dominated(np.array([[np.nan, 1.0]]))


def test_front_keeps_equal_values_but_not_equal_genomes():
    genomes = np.array([[1, 0], [0, 1], [0, 1], [1, 1]], np.int16)
    values = np.array([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [2.0, 2.0]])
    front = Front.from_points(["a", "b"], genomes, values)
    assert front.names == ("a", "b")
    assert sorted(front.genomes.tolist()) == [[0, 1], [1, 0]]
    assert len(front) == 2
    assert len(Front.from_points(["a"], np.empty((0, 2), np.int16), np.empty((0, 1)))) == 0


def test_layers_peel_fronts():
    values = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [0.0, 3.0]])
    assert layers(values, 1).tolist() == [True, False, False, False]
    assert layers(values, 2).tolist() == [True, True, False, True]
    assert layers(values, 9).all()


def test_hypervolume_by_hand():
    reference = np.array([3.0, 3.0])
    assert hypervolume(np.array([[1.0, 2.0], [2.0, 1.0]]), reference) == pytest.approx(3.0)
    assert hypervolume(np.array([[4.0, 0.0]]), reference) == 0.0
    assert hypervolume(np.empty((0, 2)), reference) == 0.0


def test_the_knee_bulges_most():
    t = np.linspace(0, 1, 11)
    bowed = np.column_stack([t, (1 - t) ** 3])
    assert knee(bowed) == np.argmin(bowed.sum(axis=1))
    assert knee(bowed * [1000, 1] + [5, -7]) == knee(bowed)
    assert knee(np.array([[1.0, 2.0]])) == 0
    corner = np.array([[0.0, 1, 1], [1, 0, 1], [1, 1, 0], [0.3, 0.3, 0.3], [0.0, 0.9, 0.9]])
    assert knee(corner) == 3
