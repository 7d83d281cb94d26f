"""Order: by what a search ranks networks where the metric that a user wants is too coarse to rank them.

On few validation samples a share of wrong answers is mostly luck: the loss of the same answers ranks networks by what they
will do on other samples far better (experiments/results/signals.md). An order is total, so that dominance stays transitive:
networks that are "equal within noise" may be equal to a third one but not to each other.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nas.tasks.metric import Metric, metric_of

Floats = NDArray[np.float64]
Order = Callable[[Mapping[str, Floats]], Floats]
"""From measured values by name, each `(n,)` in its own unit, to what is minimised, `(n,)`."""

Rule = Literal["auto", "loss", "metric"]
STANDARD_ERRORS = 3.92  # in the width of a 95 % interval


@dataclass(frozen=True)
class ByLoss:
    """By the loss alone.

    Attributes:
        loss: Its name.
    """

    loss: str

    def __call__(self, values: Mapping[str, Floats]) -> Floats:
        """See `Order`."""
        return values[self.loss]

    @property
    def words(self) -> str:
        """As a part of a sentence."""
        return f"by {metric_of(self.loss).title}"


@dataclass(frozen=True)
class ByMetric:
    """By the metric on a grid of its own standard error, and within a cell of the grid by the loss.

    Attributes:
        metric: Its name; minimised or maximised as its direction says.
        loss: Name of the loss, 0 or more.
        step: Width of a cell.
    """

    metric: str
    loss: str
    step: float

    def __call__(self, values: Mapping[str, Floats]) -> Floats:
        """See `Order`; in the unit of the metric."""
        cell = np.floor(metric_of(self.metric).sign * values[self.metric] / self.step)
        return self.step * (cell + 1 - np.exp(-values[self.loss]))

    @property
    def words(self) -> str:
        """As a part of a sentence."""
        metric = metric_of(self.metric)
        return f"by {metric.title} in steps of {metric.text(self.step)}, then by {metric_of(self.loss).title}"


def order_of(
    metric: Metric, measured: Collection[str], n: int, typical: float, noise: float, rule: Rule = "auto"
) -> ByLoss | ByMetric | None:
    """Return the order of a search, or None: by the metric itself.

    Args:
        metric: What the user wants.
        measured: Names of everything that is measured.
        n: Samples that it is measured on.
        typical: A value of it that may be expected; its standard error there counts.
        noise: A difference of it that means nothing.
        rule: `loss`; `metric`: on a grid; `auto`: by the loss, unless so many samples are there that the standard error is
            below that difference. A metric of whose interval nothing is known goes by its loss.
    """
    if metric.loss not in measured:
        return None
    if rule == "loss" or metric.interval is None:
        return ByLoss(metric.loss)
    low, high = metric.interval(typical, n)
    step = (high - low) / STANDARD_ERRORS
    return ByMetric(metric.name, metric.loss, step) if rule == "metric" or step < noise else ByLoss(metric.loss)
