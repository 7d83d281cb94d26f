import numpy as np
import pytest

from nas.objectives.columns import Column
from nas.search import search
from nas.search.measurements import Measurements
from nas.search.order import ByLoss, ByMetric, order_of
from nas.search.strategies.sampled import RandomStrategy
from nas.tasks.classification import ERROR
from nas.tasks.regression import RMSE
from search_spaces import Choice, InvalidInputError, TabularSpace

BOTH = ("error", "cross_entropy")
SPACE = TabularSpace([Choice(f"c{i}", (0, 1, 2, 3)) for i in range(4)])


def test_few_samples_are_ranked_by_loss_and_very_many_by_the_metric():
    assert order_of(ERROR, BOTH, 360, 9.0, 0.1) == ByLoss("cross_entropy")
    assert order_of(ERROR, BOTH, 10_000, 9.0, 0.1) == ByLoss("cross_entropy")
    many = order_of(ERROR, BOTH, 1_000_000, 9.0, 0.1)
    assert isinstance(many, ByMetric)
    assert many.step == pytest.approx(100 * np.sqrt(0.09 * 0.91 / 1_000_000), rel=0.01)
    assert isinstance(order_of(ERROR, BOTH, 360, 9.0, 0.1, "metric"), ByMetric)
    assert isinstance(order_of(ERROR, BOTH, 1_000_000, 9.0, 0.1, "loss"), ByLoss)
    assert order_of(ERROR, ("error",), 360, 9.0, 0.1) is None
    assert order_of(RMSE, ("rmse",), 360, 1.0, 0.1) is None


def test_a_grid_orders_by_cells_and_within_them_by_loss():
    order = ByMetric("error", "cross_entropy", 1.0)
    values = {"error": np.array([2.9, 2.1, 3.0, 2.9]), "cross_entropy": np.array([0.1, 0.5, 0.01, 7.0])}
    assert order(values).argsort().tolist() == [0, 1, 3, 2]
    assert order.words == "by error in steps of 1.00 %, then by cross-entropy"


def measure(genomes):
    loss = ((genomes - 1.5) ** 2).sum(axis=1) + 0.1
    return {"error": np.round(loss / 3), "cross_entropy": loss}


@pytest.mark.parametrize("strategy", ["predictor", "nsga2"])
def test_a_search_goes_by_the_order_and_reports_the_metric(strategy):
    settings = {"cheap": {"cost": lambda g: g.sum(axis=1) * 1.0}, "objectives": ["error"], "n_measurements": 40}
    found = search(
        SPACE,
        measure,
        orders={"error": ByLoss("cross_entropy")},
        strategy=strategy,
        rng=np.random.default_rng(0),
        noise={},
        **settings,
    )
    values = found.archive[["cross_entropy", "cost"]].to_numpy(float)
    on_front = {tuple(row) for row in found.front[["cross_entropy", "cost"]].to_numpy(float)}
    beaten = [bool(((values <= row).all(axis=1) & (values < row).any(axis=1)).any()) for row in values]
    assert on_front == {tuple(row) for row, is_beaten in zip(values, beaten, strict=True) if not is_beaten}
    assert {"error", "tied"} <= set(found.front)


def test_orders_and_signals_of_nothing_are_named():
    settings = {"n_measurements": 8, "rng": np.random.default_rng(0), "strategy": "random"}
    with pytest.raises(InvalidInputError, match=r"orders and signals are of measured objectives, got \['eror'\]"):
        search(SPACE, measure, orders={"eror": ByLoss("cross_entropy")}, **settings)
    with pytest.raises(InvalidInputError, match="options are of a strategy that is named"):
        search(SPACE, measure, options={"population": 3}, **{**settings, "strategy": RandomStrategy()})


def test_a_search_by_loss_ends_by_the_noise_of_the_loss():
    settings = {"objectives": ["error"], "orders": {"error": ByLoss("cross_entropy")}, "strategy": "random"}
    found = search(SPACE, measure, n_measurements=80, noise={"cross_entropy": 1e6}, rng=np.random.default_rng(0), **settings)
    assert found.stopped_early


def test_a_front_by_order_marks_what_another_beats_in_the_metric():
    error, loss, size = Column("error", "val"), Column("cross_entropy", "val"), Column("size_bytes")
    values = {error: np.array([2.0, 1.9]), loss: np.array([0.1, 0.2]), size: np.array([5.0, 5.0])}
    measured = Measurements(SPACE, SPACE.sample(2, np.random.default_rng(0)), values, {error: values[loss]})
    rows, tied = measured.front([error, size], tolerance={error: 0.2})
    assert rows.tolist() == [0]
    assert tied.tolist() == [True]
    assert measured.take(rows).orders[error].tolist() == [0.1]
    assert measured.including({}).front([error, size])[0].tolist() == [0]
