"""Measurements that fail, and functions that give something else than they must."""

import numpy as np
import pytest

from nas.archive.archive import Archive
from nas.search import search
from nas.search.strategies import STRATEGIES
from search_spaces import Choice, InvalidInputError, TabularSpace
from search_spaces.errors import MeasurementError

SPACE = TabularSpace([Choice(f"c{i}", tuple(range(4))) for i in range(6)])


def error(genomes):
    return ((3.0 - genomes) ** 2).sum(axis=1)


def run(measure, n=30, **settings):
    settings = {"strategy": "nsga2", "rng": np.random.default_rng(0), **settings}
    return search(SPACE, measure, cheap={"cost": lambda g: g.sum(axis=1).astype(float)}, n_measurements=n, **settings)


NEED_TABLES = ("exact", "effects", "differentiable")


@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if name not in NEED_TABLES])
def test_a_network_that_cannot_be_measured_is_counted_and_the_search_goes_on(strategy):
    def measure(genomes):
        bad = genomes[:, 0] == 3
        return {"error": np.where(bad, np.nan, error(genomes))}

    n = 20 if strategy == "gp" else 40  # every question to it takes a second
    result = run(measure, n=n, strategy=strategy)
    assert result.failed
    assert len(result.archive) + len(result.failed) == n
    assert len(set(result.failed)) == len(result.failed)
    assert (result.genomes[:, 0] != 3).all()
    assert np.isfinite(result.archive["error"].to_numpy(float)).all()


def test_most_failures_end_a_search_and_what_was_measured_is_kept(tmp_path):
    archive = Archive(SPACE, f"sqlite:///{tmp_path / 'a.db'}", "error", ("error",))
    calls = []

    def measure(genomes):
        calls.append(1)
        return {"error": error(genomes) if len(calls) <= 4 else np.array([np.inf])}

    with pytest.raises(
        MeasurementError, match="10 of 14 measurements failed: they gave no finite numbers, first for network "
    ):
        run(measure, n=100, archive=archive)
    assert len(archive.genomes()) == 4
    with pytest.raises(MeasurementError, match="the first measurements all failed, of the networks"):
        run(lambda genomes: {"error": np.full(len(genomes), np.nan)}, strategy="random")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1.0, "`measure` must return values by name, each of shape .1,. for one network; got 1.0"),
        (None, "got None"),
        ([1.0], r"got \[1.0\]"),
        ({}, "got {}"),
        ({"error": np.zeros(3)}, "`measure` must return one number of 'error' for one network, got array"),
        ({"error": "low"}, "one number of 'error' for one network, got 'low'"),
    ],
)
def test_what_is_no_measurement_is_refused_in_a_sentence(value, message):
    with pytest.raises(InvalidInputError, match=message):
        run(lambda genomes: value)


def test_a_plain_number_or_a_list_of_one_will_do():
    assert len(run(lambda genomes: {"error": float(error(genomes)[0])}).archive) == 30
    assert len(run(lambda genomes: {"error": error(genomes).tolist()}).archive) == 30


def test_an_error_names_the_network_that_was_measured():
    def measure(genomes):
        raise ZeroDivisionError("by zero")

    with pytest.raises(
        MeasurementError, match=r"network \w{10} could not be measured: ZeroDivisionError: by zero"
    ) as raised:
        run(measure)
    assert isinstance(raised.value.__cause__, ZeroDivisionError)


def test_options_may_be_numbers_of_numpy(tmp_path):
    space = TabularSpace([Choice("w", tuple(np.arange(8, 40, 8))), Choice("r", tuple(np.linspace(0, 1, 5)))])
    assert [type(option) for choice in space.choices for option in choice.options[:1]] == [int, float]
    archive = Archive(space, f"sqlite:///{tmp_path / 'a.db'}", "error", ("error",))
    search(space, lambda g: {"error": g.sum(axis=1) + 0.0}, n_measurements=8, rng=np.random.default_rng(0), archive=archive)
    assert len(archive.genomes()) == 8
