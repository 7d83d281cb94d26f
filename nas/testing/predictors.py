"""Contract of a predictor."""

from collections.abc import Callable

import numpy as np
from sklearn.base import clone

from predictors import Features, Predictor, ranking_metrics
from search_spaces.space.space import SearchSpace


def check_predictor(build: Callable[[], Predictor], space: SearchSpace) -> None:
    """Check a predictor: it learns a line and says how sure it is, can be cloned, and refuses what is not finite.

    Args:
        build: Gives a new one, for a space.
        space: Its networks are predicted.
    """
    rng = np.random.default_rng(0)
    x = Features(space)(space.sample(300, rng))
    y = x @ np.random.default_rng(7).normal(size=x.shape[1])
    predictor = build().fit(x[:200], y[:200])
    mean, std = predictor.predict(x[200:], return_std=True)
    assert mean.shape == std.shape == (100,)
    assert (std >= 0).all()
    assert (predictor.predict(x[200:]) == mean).all()
    assert ranking_metrics(mean, y[200:]).tau > 0.8, "it cannot learn a line"
    first = build().fit(x[:60], y[:60])
    told = first.predict(x)
    assert (clone(first).fit(x[:60], y[:60]).predict(x) == told).all(), "a clone predicts otherwise"
    assert (first.fit(x[:60], y[:60]).predict(x) == told).all(), "fitted again it predicts otherwise"
    constant, spread = build().fit(x[:20], np.full(20, 3.0)).predict(x[:20], return_std=True)
    assert np.allclose(constant, 3.0)
    assert np.isfinite(spread).all()
    spoiled = y[:20].copy()
    spoiled[3] = np.nan
    try:
        build().fit(x[:20], spoiled)
    except ValueError as error:
        if "NaN" not in str(error):
            raise AssertionError(f"it does not name NaN: {error}") from error
    else:
        raise AssertionError("it learns from NaN")
