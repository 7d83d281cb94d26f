"""Normalization: with fixed statistics, or of each token by itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from search_spaces.graph.node import Doubles, Node, Weights, WeightSpec, operator, untimed
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


@operator("rmsnorm")
@dataclass(frozen=True, kw_only=True)
class RmsNorm(Node):
    """The last axis over the root of its mean square, times a factor for each element.

    Attributes:
        epsilon: Added to the mean square.

    Source:
        Zhang & Sennrich 2019, arXiv:1910.07467.
    """

    epsilon: float = untimed(1e-5)

    stays_float = True

    def weights(self) -> tuple[WeightSpec, ...]:
        """The factors, `(width,)`."""
        return (WeightSpec("weight", self.shape[-1:], ("out",), init="ones"),)

    def emit(self, writer: "Writer") -> None:
        """See `Node`."""
        writer.require_opset(23)
        factor = writer.constant(f"{self.name}/weight", writer.weights[f"{self.name}/weight"])
        writer.operator("RMSNormalization", [self.inputs[0], factor], self.name, axis=-1, epsilon=self.epsilon)

    def compute(self, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
        """See `Node`."""
        x = inputs[0]
        factor = weights[f"{self.name}/weight"].astype(np.float64)
        result: Doubles = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + self.epsilon) * factor
        return result

    @classmethod
    def examples(cls) -> tuple[tuple[Node, ...], ...]:
        """See `Node`."""
        return ((Input(name="x", shape=(3, 8)), cls(name="y", inputs=("x",), shape=(3, 8))),)
