"""Search strategies, which choose what is measured next."""

from nas.search.strategies import (  # noqa: F401  registers them
    differentiable,
    effects,
    exact,
    optuna_samplers,
    predictor,
    sampled,
)
from nas.search.strategies.build import build_strategy
from nas.search.strategies.strategy import STRATEGIES, Strategy

__all__ = ["STRATEGIES", "Strategy", "build_strategy"]
