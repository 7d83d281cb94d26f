"""Searches whose predictors see signals, and spaces with a cell."""

import numpy as np
import pytest

from nas.search import search, upper_bound
from predictors import Signal
from search_spaces import Cell, Choice, TabularSpace
from search_spaces.costs import FactorTable
from search_spaces.space.factor import Factor

SPACE = TabularSpace([Choice(f"c{i}", tuple(range(4))) for i in range(6)])


def error(genomes):
    return ((3 - genomes) ** 2) @ np.array([3.0, 2.0, 1.0, 3.0, 2.0, 1.0])


TIGHT = TabularSpace([Choice(f"c{i}", (0, 1, 2, 3)) for i in range(16)])


@pytest.mark.parametrize("strategy", ["predictor", "effects"])
def test_costly_signals_under_tight_constraints(strategy):
    cost = FactorTable(tuple(Factor((i,), np.arange(4.0)) for i in range(16)))
    estimate = Signal("estimate", lambda g: np.log(1 + g @ np.arange(16.0)), slope=1.0, is_free=False)
    found = search(
        TIGHT,
        lambda g: {"error": 1 + g @ np.arange(16.0)},
        cheap={"cost": cost},
        constraints={"cost": upper_bound(cost, 3.0)},
        signals={"error": [estimate]},
        n_measurements=10,
        strategy=strategy,
        rng=np.random.default_rng(0),
    )
    assert (found.front["cost"] <= 3).all()


@pytest.mark.parametrize("strategy", ["exact", "differentiable", "effects"])
def test_lines_do_not_look_into_cells(strategy):
    cell = Cell({"a": (0, 1), "b": (1, 2), "c": (0, 2)})
    space = TabularSpace([Choice(name, ("none", "skip_connect", "conv")) for name in cell.edges], cell=cell)
    cost = FactorTable(tuple(Factor((i,), np.arange(3.0)) for i in range(3)))
    settings = {"cheap": {"cost": cost}, "n_measurements": 12, "strategy": strategy, "rng": np.random.default_rng(0)}
    assert len(search(space, lambda g: {"error": g.sum(axis=1) + 1.0}, **settings).genomes) == 12


def test_an_informed_start_of_one_objective_tunes_nothing_yet():
    prior = Signal("prior", lambda g: np.log(1 + error(g)), slope=1.0)
    options = {"predictors": "ridge", "tuning_trials": 3}
    settings = {"signals": {"error": [prior]}, "options": options, "rng": np.random.default_rng(0)}
    assert len(search(SPACE, lambda g: {"error": error(g)}, n_measurements=20, **settings).genomes) == 20
