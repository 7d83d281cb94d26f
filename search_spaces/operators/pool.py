"""Pooling."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from search_spaces.graph.node import Doubles, Floats, Node, Quantized, Weights, labelled, operator
from search_spaces.operators.conv import Pads, Pair, pair, windows_of
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
    """Maximum of each rectangle of pixels; what is left over at the right and below is dropped.

    Attributes:
        size: Height and width of the rectangle: one number, or both.
        stride: Step in both directions: one number, or both; 0: as `size`.
        pads: Pixels at the top, the left, below and at the right that are never the greatest; empty: none.
    """

    size: int | Pair = labelled("k", 2)  # noqa: RUF009 - a field
    stride: int | Pair = 0
    pads: Pads = ()

    @property
    def step(self) -> Pair:
        """Step in each direction."""
        return pair(self.stride or self.size)

    def emit(self, writer: "Writer") -> None:
        """See `Node`."""
        pads = {"pads": list(self.pads)} if self.pads else {}
        writer.operator(
            "MaxPool", self.inputs, self.name, kernel_shape=list(pair(self.size)), strides=list(self.step), **pads
        )

    def compute(self, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
        """See `Node`."""
        pads = self.pads or (0, 0, 0, 0)
        maximum: Doubles = windows_of(inputs[0], pair(self.size), self.step, pads, value=-np.inf).max(axis=(4, 5))
        return maximum

    @classmethod
    def examples(cls) -> tuple[tuple[Node, ...], ...]:
        """See `Node`."""
        x = Input(name="x", shape=(3, 4, 5))
        padded = cls(name="y", inputs=("x",), shape=(3, 2, 3), size=3, stride=2, pads=(1, 1, 1, 1))
        return ((x, cls(name="y", inputs=("x",), shape=(3, 2, 2))), (x, padded))
