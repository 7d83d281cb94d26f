"""Settings of a search: what is minimised, how many networks are measured, who chooses them, and constraints."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from nas.events.named import Named
from search_spaces.errors import InvalidInputError, check_range


@dataclass(frozen=True, kw_only=True)
class StrategySettings(Named):
    """A strategy and its options; its name alone stands for one without options."""

    name: str = "predictor"
    """Chooses what is measured: predictor, effects, exact, nsga2, local, random, differentiable, or Optuna's tpe, gp and
    optuna_nsga2."""
    options: dict[str, Any] = field(default_factory=dict)
    """Its own settings by name, as `{population: 40}` of nsga2 or `{predictors: ridge}` of predictor."""


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """Search for the front."""

    objectives: tuple[str, ...] = ()
    """Any of the task's metric, latency_ms, size_bytes, macs, latency_ms@NAME of a further device, estimated_ms,
    estimated_mj, or one of your own; of text decode_ms,
    prefill_ms, kv_cache_bytes, decode_bytes; none: the metric, latencies where there is a device, and size_bytes."""
    n_measurements: int = 150
    """Networks that are measured."""
    strategy: StrategySettings = field(default_factory=StrategySettings)
    """Name of a strategy, or its name and options."""
    order: Literal["auto", "loss", "metric"] = "auto"
    """By what networks are ranked where the task has a loss beside its metric: loss; metric, in steps of its standard error,
    then the loss; auto: loss, unless there are so many validation samples that the standard error is below `noise`."""
    signals: tuple[str, ...] = ()
    """What the strategies predictor and effects learn from besides, each a tenth of a measurement or less: loss (of 1,024
    samples, nothing calibrated), gradient_norm, synflow, node_saliency; and fisher, which is computed once."""
    prior: str = ""
    """Folder of another run of the same choices, whose measurements are what predictors begin with."""
    batch: int = 0
    """Networks to measure before the strategy is asked again; 0: a share of what is left."""
    noise: float = -1
    """Difference of the metric that means nothing: nearer networks are tied, and a search that gains no more ends; 0: never;
    -1: the metric's own, of the error 0.1 points, of text what a paired bootstrap over windows finds."""
    n_calibration: int = 2000
    """Training samples on which each measured network is recalibrated."""
    max: dict[str, float] = field(default_factory=dict)
    """Limits on the metric or any cost that every network of the front must keep; of a trained model's own metric see
    `adopt.floor`."""
    min: dict[str, float] = field(default_factory=dict)
    """The same from below."""

    def __post_init__(self) -> None:
        if len(set(self.objectives)) != len(self.objectives):
            raise InvalidInputError(f"objectives must name each objective once, got {list(self.objectives)}")
        for key, limits in (("max", self.max), ("min", self.min)):
            if bad := {name: limit for name, limit in limits.items() if not 0 < limit < math.inf}:
                raise InvalidInputError(f"{key} must be above 0 and finite, got {bad}")
        if crossed := [name for name in self.max if self.min.get(name, 0) > self.max[name]]:
            raise InvalidInputError(f"min must not exceed search.max, but does for {crossed}")
        check_range("batch", self.batch, 0, 100_000)
        if self.noise != -1:
            check_range("noise", self.noise, 0, 100)
        check_range("n_measurements", self.n_measurements, 4, 1_000_000)
        check_range("n_calibration", self.n_calibration, 2, 1_000_000)
