"""Operators on each element: activations, sums, products."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from search_spaces.graph.node import Doubles, Floats, Node, Quantized, Weights, operator, scale_ratio
from search_spaces.operators.ends import Input

if TYPE_CHECKING:
    from search_spaces.lowering import Writer


@dataclass(frozen=True, kw_only=True)
class Activation(Node):
    """Base of functions of one tensor, of its shape."""

    @classmethod
    def examples(cls) -> tuple[tuple[Node, ...], ...]:
        """See `Node`."""
        return ((Input(name="x", shape=(3, 4, 5)), cls(name="y", inputs=("x",), shape=(3, 4, 5))),)


@operator("relu")
@dataclass(frozen=True, kw_only=True)
class Relu(Activation):
    """max(x, 0)."""

    is_fused = True
    takes_raw = True

    def nonnegative(self, inputs: Sequence[bool]) -> bool:
        """See `Node`."""
        return True

    def emit(self, writer: "Writer") -> None:
        """See `Node`."""
        writer.operator("Relu", self.inputs, self.name)

    def compute(self, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
        """See `Node`."""
        return np.maximum(inputs[0], 0)


@operator("hardswish")
@dataclass(frozen=True, kw_only=True)
class HardSwish(Activation):
    """x times hard-sigmoid of x."""

    def emit(self, writer: "Writer") -> None:
        """See `Node`."""
        writer.operator("HardSwish", self.inputs, self.name)

    def compute(self, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
        """See `Node`."""
        result: Doubles = inputs[0] * np.clip(inputs[0] / 6 + 0.5, 0, 1)
        return result


@operator("hardsigmoid")
@dataclass(frozen=True, kw_only=True)
class HardSigmoid(Activation):
    """x / 6 + 1 / 2, between 0 and 1."""

    def nonnegative(self, inputs: Sequence[bool]) -> bool:
        """See `Node`."""
        return True

    def emit(self, writer: "Writer") -> None:
        """See `Node`."""
        writer.operator("HardSigmoid", self.inputs, self.name, alpha=1 / 6, beta=0.5)

    def compute(self, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
        """See `Node`."""
        gate: Doubles = np.clip(inputs[0] / 6 + 0.5, 0, 1)
        return gate


@operator("add")
@dataclass(frozen=True, kw_only=True)
class Add(Node):
    """Sum of two tensors of one shape, each with its own scale."""

    takes_8_bits = True
    has_integer_kernel = True
    may_tie = True

    def emit(self, writer: "Writer") -> None:
        """See `Node`."""
        writer.operator("Add", self.inputs, self.name)

    def compute(self, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
        """See `Node`."""
        return inputs[0] + inputs[1]

    def compute_integers(self, inputs: Sequence[Quantized], output: Quantized | None, weights: Weights) -> Floats:
        """See `Node`.

        Every order of the float32 operations is right, and runtimes differ in it; this is the order of onnxruntime's kernel
        for x86 with AVX2: zero points first, then second and first tensor by fused multiplication and addition.
        """
        scale_out = np.float32(output.scale) if output else np.float32(1)
        zero_out = np.float32(output.zero_point if output else 0)
        ratios = [np.float32(tensor.scale) / scale_out for tensor in inputs]
        fixed = zero_out - (ratios[0] * np.float32(inputs[0].zero_point) + ratios[1] * np.float32(inputs[1].zero_point))
        total = np.full(inputs[0].integers.shape, fixed, np.float32)
        for tensor, ratio in reversed(list(zip(inputs, ratios, strict=True))):
            exact = (tensor.integers + tensor.zero_point).astype(np.float64) * np.float64(ratio) + total
            total = exact.astype(np.float32)
        return total - zero_out

    @classmethod
    def examples(cls) -> tuple[tuple[Node, ...], ...]:
        """See `Node`."""
        inputs = tuple(Input(name=name, shape=(3, 4, 5)) for name in ("a", "b"))
        return ((*inputs, cls(name="y", inputs=("a", "b"), shape=(3, 4, 5))),)


@operator("multiply")
@dataclass(frozen=True, kw_only=True)
class Multiply(Node):
    """Product of a tensor of shape `(channels, height, width)` with a gate of shape `(channels, 1, 1)`."""

    has_integer_kernel = True
    may_tie = True

    def nonnegative(self, inputs: Sequence[bool]) -> bool:
        """See `Node`."""
        return all(inputs)

    def emit(self, writer: "Writer") -> None:
        """See `Node`."""
        writer.operator("Mul", self.inputs, self.name)

    def compute(self, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
        """See `Node`."""
        return inputs[0] * inputs[1]

    def compute_integers(self, inputs: Sequence[Quantized], output: Quantized | None, weights: Weights) -> Floats:
        """See `Node`."""
        return (inputs[0].integers * inputs[1].integers).astype(np.float32) * scale_ratio(inputs, output)

    @classmethod
    def examples(cls) -> tuple[tuple[Node, ...], ...]:
        """See `Node`."""
        inputs = (Input(name="a", shape=(3, 4, 5)), Input(name="gate", shape=(3, 1, 1)))
        return ((*inputs, cls(name="y", inputs=("a", "gate"), shape=(3, 4, 5))),)
