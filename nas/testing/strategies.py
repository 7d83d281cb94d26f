"""Contract of a search strategy."""

from collections.abc import Callable

import numpy as np

from nas.search.evolution.evolve import upper_bound
from nas.search.strategies.strategy import Strategy
from nas.search.study import search
from predictors import Signal
from search_spaces.costs import FactorTable
from search_spaces.space.choice import Choice
from search_spaces.space.factor import Factor
from search_spaces.space.space import Genomes, TabularSpace


def check_strategy(build: Callable[[], Strategy], budget: int = 30) -> None:
    """Check a strategy: it spends its budget, repeats itself with the same seed, and keeps to constraints on its front.

    There is a signal, which it need not use.

    Args:
        build: Gives a new one.
        budget: Networks that it may measure.
    """
    space = TabularSpace([Choice(f"c{i}", (1, 2, 3)) for i in range(5)])
    cost = FactorTable(tuple(Factor((i,), np.arange(3.0)) for i in range(5)))

    def measure(genomes: Genomes) -> dict[str, np.ndarray]:
        return {"loss": ((genomes - 1.0) ** 2).sum(axis=1) + 0.1}

    def estimate(genomes: Genomes) -> np.ndarray:
        values: np.ndarray = np.log(measure(genomes)["loss"]) + 0.1 * np.sin(genomes.sum(axis=1))
        return values

    signals = {"loss": [Signal("an estimate of the logarithm", estimate, slope=1.0, is_free=False)]}

    def found(**settings: object) -> Genomes:
        result = search(
            space,
            measure,
            cheap={"cost": cost},
            signals=signals,
            n_measurements=budget,
            strategy=build(),
            rng=np.random.default_rng(0),
            **settings,  # type: ignore[arg-type]
        )
        assert len(result.genomes) <= budget
        assert len(np.unique(result.genomes, axis=0)) == len(result.genomes), "a network was measured twice"
        if settings:
            assert (result.front["cost"] <= 6).all(), "the front breaks a constraint"
        return result.genomes

    first = found()
    assert len(first) == budget, f"it ended after {len(first)} of {budget} measurements"
    assert np.array_equal(first, found()), "the same seed gives other networks"
    found(constraints={"cost": upper_bound(cost, 6.0)})
