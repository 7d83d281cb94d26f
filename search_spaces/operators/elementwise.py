"""Operators on each element: activations, sums, products."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from search_spaces.graph.node import Doubles, Floats, Node, Quantized, Weights, operator, scale_ratio, untimed
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


@operator("relu6")
@dataclass(frozen=True, kw_only=True)
class Relu6(Activation):
    """x between 0 and 6.

    In a block of integers the bound is that of the integers behind it: their scale must not reach beyond 6.
    """

    is_fused = True
    takes_raw = True
    limit: ClassVar[float] = 6.0

    def nonnegative(self, inputs: Sequence[bool]) -> bool:
        """See `Node`."""
        return True

    def emit(self, writer: "Writer") -> None:
        """A Clip in float32; onnxruntime keeps a float kernel before it, so that integers have a Relu, and saturate at 6."""
        if self.precision.is_static:
            writer.operator("Relu", self.inputs, self.name)
            return
        low, high = (writer.constant(f"{self.name}/{k}", np.float32(v)) for k, v in (("low", 0), ("high", self.limit)))
        writer.operator("Clip", [self.inputs[0], low, high], self.name)

    def compute(self, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
        """See `Node`."""
        return np.clip(inputs[0], 0, self.limit)


@operator("leakyrelu")
@dataclass(frozen=True, kw_only=True)
class LeakyRelu(Activation):
    """x where it is positive, otherwise a share of it.

    Attributes:
        slope: The share.
    """

    slope: float = untimed(0.01)

    def emit(self, writer: "Writer") -> None:
        """See `Node`."""
        writer.operator("LeakyRelu", self.inputs, self.name, alpha=self.slope)

    def compute(self, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
        """See `Node`."""
        return np.where(inputs[0] > 0, inputs[0], inputs[0] * self.slope)


@operator("sigmoid")
@dataclass(frozen=True, kw_only=True)
class Sigmoid(Activation):
    """1 / (1 + exp(-x)); multiplied with x it is SiLU."""

    def nonnegative(self, inputs: Sequence[bool]) -> bool:
        """See `Node`."""
        return True

    def emit(self, writer: "Writer") -> None:
        """See `Node`."""
        writer.operator("Sigmoid", self.inputs, self.name)

    def compute(self, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
        """See `Node`."""
        result: Doubles = 0.5 + 0.5 * np.tanh(inputs[0] / 2)
        return result


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
    """A line of x that passes 1 / 2 at 0, between 0 and 1.

    Attributes:
        slope: Of the line.
    """

    slope: float = untimed(1 / 6)

    def nonnegative(self, inputs: Sequence[bool]) -> bool:
        """See `Node`."""
        return True

    def emit(self, writer: "Writer") -> None:
        """See `Node`."""
        writer.operator("HardSigmoid", self.inputs, self.name, alpha=self.slope, beta=0.5)

    def compute(self, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
        """See `Node`."""
        gate: Doubles = np.clip(inputs[0] * self.slope + 0.5, 0, 1)
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
    """Product of a tensor of shape `(channels, height, width)` with a like one, or a gate of shape `(channels, 1, 1)`."""

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
        a = Input(name="a", shape=(3, 4, 5))
        others = (Input(name="b", shape=(3, 1, 1)), Input(name="b", shape=(3, 4, 5)))
        return tuple((a, other, cls(name="y", inputs=("a", "b"), shape=(3, 4, 5))) for other in others)


@operator("residual")
@dataclass(frozen=True, kw_only=True)
class Residual(Add):
    """Sum of two tensors on a stream that stays float32 in every format, as that of tokens."""

    stays_float = True
    takes_8_bits = False
    has_integer_kernel = False


@operator("swiglu")
@dataclass(frozen=True, kw_only=True)
class SwiGlu(Node):
    """Product of SiLU of a gate with a like tensor; it takes gate, then tensor.

    Source:
        Shazeer 2020, arXiv:2002.05202.
    """

    stays_float = True

    def emit(self, writer: "Writer") -> None:
        """See `Node`."""
        gate = writer.operator("Sigmoid", self.inputs[:1], f"{self.name}/sigmoid")
        gated = writer.operator("Mul", [self.inputs[0], gate], f"{self.name}/gate")
        writer.operator("Mul", [gated, self.inputs[1]], self.name)

    def compute(self, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
        """See `Node`."""
        gate, x = inputs
        result: Doubles = gate * (0.5 + 0.5 * np.tanh(gate / 2)) * x
        return result

    def magnitude(self, inputs: Sequence[Doubles], weights: Weights, result: Doubles) -> Doubles:
        """See `Node`: runtimes give the sigmoid to the rounding of one, not of itself."""
        gate, x = inputs
        return np.abs(gate * x)

    @classmethod
    def examples(cls) -> tuple[tuple[Node, ...], ...]:
        """See `Node`."""
        inputs = tuple(Input(name=name, shape=(3, 8)) for name in ("gate", "x"))
        return ((*inputs, cls(name="y", inputs=("gate", "x"), shape=(3, 8))),)
