"""The interface of what measures subnets on data."""

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from nas.tasks.metric import Metric
from search_spaces.space.subnet import Subnet

Split = Literal["val", "test"]


@runtime_checkable
class Evaluator(Protocol):
    """Measures subnets on data. Ours runs a `Supernet`, one of your own anything: see docs/own-evaluator.md."""

    @property
    def metrics(self) -> Sequence[Metric]:
        """What it measures; the first one steers a search."""

    def evaluate(self, subnets: Sequence[Subnet], split: Split = "val") -> dict[str, NDArray[np.float64]]:
        """Return the values of subnets by metric, each in its own unit, shape `(n,)`.

        Args:
            subnets: One at a time, or some.
            split: `val` steers a search; `test` is only reported.
        """
