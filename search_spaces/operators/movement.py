"""Operators that move data and compute nothing, or join tensors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from search_spaces.graph.node import Doubles, Floats, Node, Quantized, Weights, labelled, operator, scale_ratio
from search_spaces.operators.ends import Input

if TYPE_CHECKING:
    from search_spaces.lowering import Writer


@dataclass(frozen=True, kw_only=True)
class Movement(Node):
    """Base of operators whose result holds values of their input, nothing else."""

    moves_data = True
    has_integer_kernel = True
    may_tie = True

    def compute_integers(self, inputs: Sequence[Quantized], output: Quantized | None, weights: Weights) -> Floats:
        """See `Node`; where input and output share a scale the integers are the same."""
        moved = self.compute([inputs[0].integers.astype(np.float64)], weights).astype(np.float32)
        return moved * scale_ratio(inputs, output)


@operator("depthtospace")
@dataclass(frozen=True, kw_only=True)
class DepthToSpace(Movement):
    """Channels moved into pixels: `(channels * block**2, h, w)` to `(channels, h * block, w * block)`.

    The `block**2` channels of a pixel stand together, so that the first channels taken are the first channels given.

    Attributes:
        block: Side of the square of pixels that one becomes.

    Source:
        Sub-pixel convolution, Shi et al. 2016, arXiv:1609.05158.
    """

    block: int = labelled("b", 2)

    def emit(self, writer: "Writer") -> None:
        """See `Node`."""
        writer.operator("DepthToSpace", self.inputs, self.name, blocksize=self.block, mode="CRD")

    def compute(self, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
        """See `Node`."""
        n, channels, height, width = inputs[0].shape
        b = self.block
        split = inputs[0].reshape(n, channels // b**2, b, b, height, width)
        return split.transpose(0, 1, 4, 2, 5, 3).reshape(n, channels // b**2, height * b, width * b)

    @classmethod
    def examples(cls) -> tuple[tuple[Node, ...], ...]:
        """See `Node`."""
        return ((Input(name="x", shape=(8, 3, 2)), cls(name="y", inputs=("x",), shape=(2, 6, 4))),)


@operator("concat")
@dataclass(frozen=True, kw_only=True)
class Concat(Node):
    """Tensors behind one another, along their channels; each with its own scale."""

    has_integer_kernel = True
    may_tie = True

    def nonnegative(self, inputs: Sequence[bool]) -> bool:
        """See `Node`."""
        return all(inputs)

    def emit(self, writer: "Writer") -> None:
        """See `Node`."""
        writer.operator("Concat", self.inputs, self.name, axis=1)

    def compute(self, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
        """See `Node`."""
        joined: Doubles = np.concatenate(inputs, axis=1)
        return joined

    def compute_integers(self, inputs: Sequence[Quantized], output: Quantized | None, weights: Weights) -> Floats:
        """See `Node`."""
        parts = [tensor.integers.astype(np.float32) * scale_ratio([tensor], output) for tensor in inputs]
        joined: Floats = np.concatenate(parts, axis=1)
        return joined

    @classmethod
    def examples(cls) -> tuple[tuple[Node, ...], ...]:
        """See `Node`."""
        inputs = (Input(name="a", shape=(2, 4, 5)), Input(name="b", shape=(3, 4, 5)))
        return ((*inputs, cls(name="y", inputs=("a", "b"), shape=(5, 4, 5))),)


@operator("lasttoken")
@dataclass(frozen=True, kw_only=True)
class LastToken(Movement):
    """The last of some tokens: `(tokens, width)` to `(1, width)`."""

    stays_float = True
    has_integer_kernel = False

    def emit(self, writer: "Writer") -> None:
        """See `Node`."""
        ends = [writer.constant(f"{self.name}/{k}", np.array([v])) for k, v in (("from", -1), ("to", 2**31), ("axis", 1))]
        writer.operator("Slice", [self.inputs[0], *ends], self.name)

    def compute(self, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
        """See `Node`."""
        return inputs[0][:, -1:]

    @classmethod
    def examples(cls) -> tuple[tuple[Node, ...], ...]:
        """See `Node`."""
        return ((Input(name="x", shape=(3, 8)), cls(name="y", inputs=("x",), shape=(1, 8))),)
