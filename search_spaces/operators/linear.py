"""Fully connected layers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from search_spaces.graph.node import Doubles, Floats, Node, Quantized, Weights, WeightSpec, operator, untimed
from search_spaces.graph.tensor import TensorSpec
from search_spaces.operators.ends import Input

if TYPE_CHECKING:
    from search_spaces.lowering import Writer


@operator("linear")
@dataclass(frozen=True, kw_only=True)
class Linear(Node):
    """A fully connected layer with bias, on a flattened input.

    Attributes:
        in_features: Elements taken.
    """

    in_features: int = untimed()

    has_integer_kernel = True

    def weights(self) -> tuple[WeightSpec, ...]:
        """Weight `(out, in)` and bias."""
        weight = WeightSpec("weight", (self.shape[0], self.in_features), ("out", "in"), quantized=True, init="normal")
        return (weight, WeightSpec("bias", self.shape[:1], ("out",)))

    def macs(self) -> float:
        """See `Node`."""
        return math.prod(self.shape) * self.in_features

    def emit(self, writer: "Writer") -> None:
        """See `Node`."""
        flat = writer.rearranged(self.inputs[0], f"{self.name}/input", ("Flatten", {}))
        writer.operator("Gemm", [flat, *writer.weight_and_bias(self)], self.name, transB=1)

    def compute(self, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
        """See `Node`."""
        weight, bias = (weights[f"{self.name}/{role}"].astype(np.float64) for role in ("weight", "bias"))
        result: Doubles = inputs[0].reshape(len(inputs[0]), -1).astype(np.float64) @ weight.T + bias
        return result

    def compute_integers(self, inputs: Sequence[Quantized], output: Quantized | None, weights: Weights) -> Floats:
        """See `Node`."""
        scale_out = np.float32(output.scale) if output else np.float32(1)
        multiplier = (np.float32(inputs[0].scale) * weights[f"{self.name}/weight_scale"].astype(np.float32)) / scale_out
        return self.compute([inputs[0].integers.astype(np.float64)], weights).astype(np.float32) * multiplier

    @classmethod
    def examples(cls) -> tuple[tuple[Node, ...], ...]:
        """See `Node`."""
        shapes = ((6, 1, 1), (3, 2, 2))
        return tuple(
            (Input(name="x", shape=shape), cls(name="y", inputs=("x",), shape=(5,), in_features=math.prod(shape)))
            for shape in shapes
        )


@operator("tokenlinear")
@dataclass(frozen=True, kw_only=True)
class TokenLinear(Linear):
    """A fully connected layer with bias on the last axis, for each token; its result is float32 in every format.

    Attributes:
        batched: False if its tensors have no batch axis.
    """

    batched: bool = True

    gives_raw = True

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """See `Node`."""
        return (TensorSpec(self.name, self.shape, batched=self.batched),)

    def weights(self) -> tuple[WeightSpec, ...]:
        """Weight `(out, in)` and bias."""
        shape = (self.shape[-1], self.in_features)
        weight = WeightSpec("weight", shape, ("out", "in"), quantized=True, init="normal")
        return (weight, WeightSpec("bias", shape[:1], ("out",)))

    def emit(self, writer: "Writer") -> None:
        """A matrix of all tokens, so that runtimes have an integer kernel with a float32 result."""
        flat = writer.rearranged(self.inputs[0], f"{self.name}/input", ("Reshape", {"shape": [-1, self.in_features]}))
        product = writer.operator("Gemm", [flat, *writer.weight_and_bias(self)], f"{self.name}/flat", transB=1)
        shape = [-1, *self.shape] if self.batched else list(self.shape)
        writer.operator("Reshape", [product, writer.constant(f"{self.name}/shape", np.array(shape))], self.name)

    def compute(self, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
        """See `Node`."""
        weight, bias = (weights[f"{self.name}/{role}"].astype(np.float64) for role in ("weight", "bias"))
        result: Doubles = inputs[0].astype(np.float64) @ weight.T + bias
        return result

    @classmethod
    def examples(cls) -> tuple[tuple[Node, ...], ...]:
        """See `Node`."""
        x = Input(name="x", shape=(3, 4))
        return ((x, cls(name="y", inputs=("x",), shape=(3, 5), in_features=4)),)
