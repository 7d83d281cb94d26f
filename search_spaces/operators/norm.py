"""Normalization with fixed statistics."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from search_spaces.graph.node import Doubles, Node, Weights, WeightSpec, operator
from search_spaces.operators.ends import Input

if TYPE_CHECKING:
    from search_spaces.lowering import Writer


@operator("normalize")
@dataclass(frozen=True, kw_only=True)
class Normalize(Node):
    """Raw values to (x - mean) / std, per channel."""

    takes_raw = True
    gives_8_bits = True

    def weights(self) -> tuple[WeightSpec, ...]:
        """Mean and standard deviation of each channel, `(channels,)`: given by the data."""
        return tuple(WeightSpec(role, self.shape[:1], ("out",), init="given") for role in ("mean", "std"))

    def emit(self, writer: "Writer") -> None:
        """See `Node`."""
        mean, std = (writer.weights[f"{self.name}/{role}"].reshape(-1, 1, 1) for role in ("mean", "std"))
        mean_name = writer.constant(f"{self.name}/mean", mean)
        centred = writer.operator("Sub", [self.inputs[0], mean_name], f"{self.name}/centred")
        writer.operator("Div", [centred, writer.constant(f"{self.name}/std", std)], self.name)

    def compute(self, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
        """See `Node`."""
        mean, std = (weights[f"{self.name}/{role}"].astype(np.float64).reshape(-1, 1, 1) for role in ("mean", "std"))
        return (inputs[0] - mean) / std

    @classmethod
    def examples(cls) -> tuple[tuple[Node, ...], ...]:
        """See `Node`."""
        return ((Input(name="x", shape=(3, 4, 5)), cls(name="y", inputs=("x",), shape=(3, 4, 5))),)
