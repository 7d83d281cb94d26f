"""Exact fronts where there are many choices: of pairs, so that they are found at all."""

import numpy as np
import pytest

from nas.search import search, upper_bound
from nas.search.strategies import exact
from search_spaces import Choice, TabularSpace
from search_spaces.costs import FactorTable
from search_spaces.space.factor import Factor

SPACE = TabularSpace([Choice(f"c{i}", tuple(range(3))) for i in range(12)])
RNG = np.random.default_rng(0)
ERROR, SLOW, LARGE = (
    FactorTable(tuple(Factor((i,), np.cumsum(RNG.random(3))[::step]) for i in range(12)), 1.0) for step in (-1, 1, 1)
)


@pytest.mark.parametrize("strategy", ["exact", "effects"])
@pytest.mark.parametrize("n_cheap", [2, 0])
def test_pairs_of_objectives_are_searched(strategy, n_cheap, monkeypatch):
    monkeypatch.setattr(exact, "MANY", 6)
    tables = {"slow": SLOW, "large": LARGE}
    cheap = dict(list(tables.items())[:n_cheap])
    measured = {"error": ERROR, **({} if cheap else tables)}
    result = search(
        SPACE,
        lambda genomes: {name: table(genomes) for name, table in measured.items()},
        cheap=cheap,
        n_measurements=60,
        strategy=strategy,
        rng=np.random.default_rng(1),
    )
    assert len(result.archive) == 60
    assert len(result.front) >= 15
    assert len(np.unique(result.front["error"])) >= 10


def test_limits_are_kept_before_a_front_is_thinned(monkeypatch):
    monkeypatch.setattr(exact, "MANY", 6)
    monkeypatch.setattr(exact, "THINNED", 10)
    limit = float(np.quantile(SLOW(SPACE.sample(500, np.random.default_rng(0))), 0.1))
    result = search(
        SPACE,
        lambda genomes: {"error": ERROR(genomes)},
        cheap={"slow": SLOW, "large": LARGE},
        constraints={"slow": upper_bound(SLOW, limit)},
        n_measurements=40,
        strategy="exact",
        rng=np.random.default_rng(1),
    )
    assert (result.front["slow"] <= limit).all()
    assert len(result.front) >= 8
