"""The one table of measurements, and the one place where a front is made of it."""

import numpy as np
import pytest

from nas.objectives.columns import LATENCY, Column
from nas.search.measurements import Measurements
from search_spaces import Choice, TabularSpace

ERROR = Column("error", "val")


SIZE = Column("size_bytes")
SPACE = TabularSpace([Choice("a", (1, 2, 3, 4)), Choice("b", ("x", "y", "z"))])


@pytest.fixture
def measured():
    genomes = np.array([(a, b) for a in range(4) for b in range(3)], np.int16)
    rng = np.random.default_rng(1)
    values = {ERROR: rng.integers(0, 5, 12), LATENCY: rng.integers(1, 5, 12), SIZE: rng.integers(1, 4, 12)}
    return Measurements(SPACE, genomes, values)


@pytest.mark.parametrize("objectives", [(ERROR,), (ERROR, LATENCY), (ERROR, LATENCY, SIZE)])
def test_the_front_is_what_nothing_dominates(measured, objectives):
    among = measured[SIZE] < 3
    rows, _ = measured.front(objectives, among=among)
    values = np.column_stack([measured[column] for column in objectives])
    usable = [i for i in range(12) if among[i]]
    expected = {
        i for i in usable if not any((values[j] <= values[i]).all() and (values[j] < values[i]).any() for j in usable)
    }
    assert set(rows.tolist()) == expected
    keys = [(*values[i], measured.subnets[i].id) for i in rows]
    assert keys == sorted(keys)


def test_a_tie_is_a_mark_and_changes_no_front():
    genomes = np.array([[0, 0], [1, 0], [2, 0]], np.int16)
    values = {ERROR: np.array([1.0, 1.05, 3.0]), LATENCY: np.array([2.0, 1.0, 0.9]), LATENCY.spread: np.array([0, 0, 0.5])}
    measured = Measurements(SPACE, genomes, values)
    for tolerance, expected in (({}, [False, False, False]), ({ERROR: 0.1}, [True, False, False])):
        rows, is_tied = measured.front((ERROR, LATENCY), tolerance=tolerance)
        assert rows.tolist() == [0, 1, 2]
        assert is_tied.tolist() == expected


def test_as_a_table(measured):
    frame = measured.take(np.array([4, 0])).frame()
    assert list(frame.columns) == ["id", "error_val", "latency_ms", "size_bytes", "a", "b"]
    assert frame["id"].tolist() == [SPACE.subnet(genome).id for genome in ([1, 1], [0, 0])]
    assert frame["b"].tolist() == ["y", "x"]
    assert frame["size_bytes"].dtype.kind == "i"
    assert measured.baselines_frame()["baseline"].tolist() == ["smallest", "middle", "largest"]
    bounded = measured.satisfying({ERROR: 2}, {LATENCY: 3})
    assert bounded.tolist() == [bool(e <= 2 and ms >= 3) for e, ms in zip(measured[ERROR], measured[LATENCY], strict=True)]
