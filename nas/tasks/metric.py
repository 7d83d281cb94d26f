"""Metric: a quantity of a network that is measured, counted or estimated; its name, unit and direction."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from search_spaces.errors import InvalidInputError


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A quantity of a network.

    Attributes:
        name: In files, objectives and constraints; a unit is its suffix, as in `latency_ms`.
        title: Its name for people; empty: as `name`.
        unit: Of its values; empty where they count something.
        direction: `min` or `max`: which values are good.
        digits: Decimals that are shown.
        is_whole: True if its values are whole numbers.
        is_latency: True if a device's table predicts it, and it is measured there: a time, with its spread.
        is_estimated: True if an accelerator's cost model gives it, so that it is there only where an experiment has one.
        of_data: True if it is measured on a split of the data: its columns are `NAME_val` and `NAME_test`.
        of_mean: From the mean of the samples' scores, see `Task.scores`, to the value.
        interval: From a value and the number of samples to the ends of its 95 % interval; None: nothing is known of it.
        noise: A difference that means nothing, in its unit: nearer networks are tied.
        is_paired: True if that is found for each supernet by a bootstrap over samples that two networks were scored on.
        tolerance: By how much it may differ where it is measured again, by another runtime.
        loss: Name of the loss of the same answers, which ranks networks where the metric is coarse; empty: it needs none.
    """

    name: str
    title: str = ""
    unit: str = ""
    direction: Literal["min", "max"] = "min"
    digits: int = 4
    is_whole: bool = False
    is_latency: bool = False
    is_estimated: bool = False
    of_data: bool = False
    of_mean: Callable[[float], float] = float
    interval: Callable[[float, int], tuple[float, float]] | None = None
    noise: float = 0.0
    is_paired: bool = False
    tolerance: float = 0.0
    loss: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "title", self.title or self.name)
        if self.direction not in ("min", "max"):
            raise InvalidInputError(f"the direction of metric '{self.name}' must be min or max, got {self.direction!r}")

    @property
    def sign(self) -> int:
        """1 if small values are good, otherwise -1: what values are multiplied by to be minimised."""
        return 1 if self.direction == "min" else -1

    def is_better(self, value: float, other: float) -> bool:
        """Return True if a value is better than another one."""
        return self.sign * value < self.sign * other

    def text(self, value: float) -> str:
        """Return a value for people, with its unit."""
        return f"{value:,.{self.digits}f} {self.unit}".rstrip()


METRICS: dict[str, Metric] = {}
"""Every known metric by name, in the order in which columns are shown."""

_FIXED: set[str] = set()
RESERVED = ("_val", "_test", "_predicted", "_spread")  # ends of the names of columns


def declare(metric: Metric, *, is_fixed: bool = True) -> Metric:
    """Make a metric known under its name and return it.

    Args:
        metric: The same one may be declared again.
        is_fixed: False for one of a notebook, which may be declared anew and otherwise.

    Raises:
        InvalidInputError: If one of another unit or direction has its name, or the name is none for a column.
    """
    if not metric.name.isidentifier():
        raise InvalidInputError(f"a metric's name must be letters, digits and '_', got '{metric.name}'")
    if metric.name.endswith(RESERVED):
        raise InvalidInputError(
            f"a metric's name must not end in {', '.join(RESERVED)}, which name columns; got '{metric.name}'"
        )
    known = METRICS.get(metric.name, metric)
    if metric.name in _FIXED and (known.unit, known.direction) != (metric.unit, metric.direction):
        raise InvalidInputError(f"there is another metric '{metric.name}' already; choose another name")
    if metric.name not in _FIXED or metric.name not in METRICS:
        METRICS[metric.name] = metric
    if is_fixed:
        _FIXED.add(metric.name)
    return METRICS[metric.name]


def forget(name: str) -> None:
    """Make a metric of a notebook unknown again; one that is registered stays."""
    if name not in _FIXED:
        METRICS.pop(name, None)


def metric_of(name: str) -> Metric:
    """Return the metric of that name; of an unknown one no more than its name is known."""
    return METRICS.get(name) or Metric(name=name)
