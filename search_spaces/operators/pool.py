"""Pooling."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from search_spaces.graph.node import Doubles, Floats, Node, Quantized, Weights, labelled, operator
from search_spaces.operators.ends import Input
from search_spaces.operators.movement import Movement

if TYPE_CHECKING:
    from search_spaces.lowering import Writer


@operator("globalaveragepool")
@dataclass(frozen=True, kw_only=True)
class GlobalAveragePool(Node):
    """Mean over height and width, to `(channels, 1, 1)`."""

    has_integer_kernel = True

    def nonnegative(self, inputs: Sequence[bool]) -> bool:
        """See `Node`."""
        return all(inputs)

    def emit(self, writer: "Writer") -> None:
        """See `Node`."""
        writer.operator("GlobalAveragePool", self.inputs, self.name)

    def compute(self, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
        """See `Node`."""
        mean: Doubles = inputs[0].mean(axis=(2, 3), keepdims=True)
        return mean

    def compute_integers(self, inputs: Sequence[Quantized], output: Quantized | None, weights: Weights) -> Floats:
        """See `Node`."""
        x = inputs[0].integers
        n_pixels, scale_out = np.float32(x.shape[2] * x.shape[3]), np.float32(output.scale) if output else np.float32(1)
        multiplier = np.float32(inputs[0].scale) / (scale_out * n_pixels)
        mean: Floats = x.sum(axis=(2, 3), keepdims=True).astype(np.float32) * multiplier
        return mean

    @classmethod
    def examples(cls) -> tuple[tuple[Node, ...], ...]:
        """See `Node`."""
        return ((Input(name="x", shape=(3, 4, 5)), cls(name="y", inputs=("x",), shape=(3, 1, 1))),)


@operator("maxpool")
@dataclass(frozen=True, kw_only=True)
class MaxPool(Movement):
    """Maximum of each square of pixels; what is left over at the right and below is dropped.

    Attributes:
        size: Side of the square, and the step.
    """

    size: int = labelled("k", 2)

    def emit(self, writer: "Writer") -> None:
        """See `Node`."""
        writer.operator("MaxPool", self.inputs, self.name, kernel_shape=[self.size] * 2, strides=[self.size] * 2)

    def compute(self, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
        """See `Node`."""
        n, channels, height, width = (*inputs[0].shape[:2], *(length // self.size for length in inputs[0].shape[2:]))
        kept = inputs[0][:, :, : height * self.size, : width * self.size]
        maximum: Doubles = kept.reshape(n, channels, height, self.size, width, self.size).max(axis=(3, 5))
        return maximum

    @classmethod
    def examples(cls) -> tuple[tuple[Node, ...], ...]:
        """See `Node`."""
        return ((Input(name="x", shape=(3, 4, 5)), cls(name="y", inputs=("x",), shape=(3, 2, 2))),)
