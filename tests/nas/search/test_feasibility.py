import numpy as np
import pytest

from nas.search.feasibility import check_feasible
from search_spaces import Choice, InvalidInputError, TabularSpace
from search_spaces.costs import FactorTable
from search_spaces.space.factor import Factor

SPACE = TabularSpace([Choice("a", (0, 1, 2)), Choice("b", (0, 1, 2))])
UP = FactorTable((Factor((0,), np.array([1.0, 2.0, 3.0])), Factor((1,), np.array([1.0, 2.0, 3.0]))))
DOWN = FactorTable((Factor((0,), np.array([3.0, 2.0, 1.0])), Factor((1,), np.array([3.0, 2.0, 1.0]))))
TABLES = {"up": UP, "down": DOWN}


def test_limits_that_some_network_keeps():
    check_feasible(SPACE, TABLES, {"up": 2.0})
    check_feasible(SPACE, TABLES, {"up": 4.0, "down": 4.0})
    check_feasible(SPACE, TABLES, {"unknown": 0.0})
    check_feasible(SPACE, {**TABLES, "too": UP}, {"up": 4.0, "down": 4.0, "too": 4.1})


def test_a_limit_that_nothing_keeps_names_the_least_value():
    with pytest.raises(
        InvalidInputError, match=r"no network satisfies the constraints: up is at least 2, by network \w{10}, not 1.5"
    ):
        check_feasible(SPACE, TABLES, {"up": 1.5, "down": 9.0})


def test_limits_that_exclude_each_other_name_the_nearest_network():
    message = r"no network satisfies up 3 and down 4 together, though .* the nearest is network (\w{10}) with up 3, down 5"
    with pytest.raises(InvalidInputError, match=message) as caught:
        check_feasible(SPACE, TABLES, {"up": 3.0, "down": 4.0})
    named = str(caught.value).split("network ")[2].split(" ")[0]
    genomes = np.array([[a, b] for a in range(3) for b in range(3)], np.int16)
    ids = {SPACE.subnet(genome).id: UP(genome[None])[0] for genome in genomes}
    assert ids[named] == 3


def test_lower_limits_name_the_greatest_value():
    check_feasible(SPACE, TABLES, {"up": 4.0}, {"up": 4.0})
    with pytest.raises(
        InvalidInputError, match=r"no network satisfies the constraints: up is at most 6, by network \w{10}, not 7"
    ):
        check_feasible(SPACE, TABLES, {}, {"up": 7.0})
    with pytest.raises(
        InvalidInputError, match=r"no network satisfies up at least 5 and down at least 5 together, .* with up 4, down 4"
    ):
        check_feasible(SPACE, TABLES, {}, {"up": 5.0, "down": 5.0})


def test_three_limits_are_decided_exactly():
    check_feasible(SPACE, TABLES, {"up": 4.0, "down": 4.0}, {"up": 4.0})
    with pytest.raises(InvalidInputError, match="together, though each can be satisfied alone"):
        check_feasible(SPACE, TABLES, {"up": 4.0, "down": 3.9}, {"up": 3.0})
