"""The parts of multi-head attention."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from search_spaces.graph.node import (
    Doubles,
    Floats,
    Node,
    Quantized,
    Weights,
    n_elements,
    operator,
    scale_ratio,
    untimed,
)
from search_spaces.operators.ends import Input

if TYPE_CHECKING:
    from search_spaces.lowering import Writer


@operator("attentionscores")
@dataclass(frozen=True, kw_only=True)
class AttentionScores(Node):
    """Products of queries with keys, shape `(heads, tokens, tokens)`.

    It takes queries and keys of shape `(channels, height, width)`: the heads lie one behind the other in the channels, every
    pixel is a token.

    Attributes:
        depth: Channels of a head.
    """

    depth: int = untimed()

    has_integer_kernel = True

    def macs(self) -> float:
        """See `Node`."""
        return n_elements(self) * self.depth

    def emit(self, writer: "Writer") -> None:
        """See `Node`."""
        heads, tokens, _ = self.shape
        split = ("Reshape", {"shape": [0, heads, self.depth, tokens]})
        turn = ("Transpose", {"perm": [0, 1, 3, 2]})
        queries = writer.rearranged(self.inputs[0], f"{self.name}/queries", split, turn)
        keys = writer.rearranged(self.inputs[1], f"{self.name}/keys", split)
        writer.operator("MatMul", [queries, keys], self.name)

    def compute(self, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
        """See `Node`."""
        return self._sums(inputs)

    def compute_integers(self, inputs: Sequence[Quantized], output: Quantized | None, weights: Weights) -> Floats:
        """See `Node`."""
        return self._sums([tensor.integers for tensor in inputs]).astype(np.float32) * scale_ratio(inputs, output)

    def _sums(self, tensors: Sequence[NDArray[Any]]) -> Doubles:
        queries, keys = (x.astype(np.float64).reshape(len(x), self.shape[0], self.depth, -1) for x in tensors)
        scores: Doubles = np.einsum("nhdi,nhdj->nhij", queries, keys)
        return scores

    @classmethod
    def examples(cls) -> tuple[tuple[Node, ...], ...]:
        """See `Node`."""
        inputs = tuple(Input(name=name, shape=(6, 2, 3)) for name in ("queries", "keys"))
        return ((*inputs, cls(name="y", inputs=("queries", "keys"), shape=(2, 6, 6), depth=3)),)


@operator("softmax")
@dataclass(frozen=True, kw_only=True)
class Softmax(Node):
    """Softmax over the last axis.

    Attributes:
        factor: What its input is multiplied by before.
    """

    factor: float = untimed(default=1.0)

    def nonnegative(self, inputs: Sequence[bool]) -> bool:
        """See `Node`."""
        return True

    def emit(self, writer: "Writer") -> None:
        """The multiplication keeps onnxruntime from fusing its QLinearSoftmax, which is a step too low for some percent."""
        factor = writer.constant(f"{self.name}/factor", np.float32(self.factor))
        multiplied = writer.operator("Mul", [self.inputs[0], factor], f"{self.name}/multiplied")
        writer.operator("Softmax", [multiplied], self.name, axis=-1)

    def compute(self, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
        """See `Node`."""
        powers = np.exp(self.factor * (inputs[0] - inputs[0].max(axis=-1, keepdims=True)))
        result: Doubles = powers / powers.sum(axis=-1, keepdims=True)
        return result

    @classmethod
    def examples(cls) -> tuple[tuple[Node, ...], ...]:
        """See `Node`."""
        return ((Input(name="x", shape=(2, 6, 6)), cls(name="y", inputs=("x",), shape=(2, 6, 6), factor=0.5)),)


@operator("attentionvalues")
@dataclass(frozen=True, kw_only=True)
class AttentionValues(Node):
    """Means of values, of shape `(channels, height, width)`, by the weights of a softmax; shape as the values.

    It takes weights, then values.
    """

    has_integer_kernel = True

    def macs(self) -> float:
        """See `Node`."""
        return n_elements(self) * math.prod(self.shape[1:])

    def emit(self, writer: "Writer") -> None:
        """See `Node`."""
        channels, height, width = self.shape
        heads = writer.graph[self.inputs[0]].shape[0]
        weights = writer.rearranged(self.inputs[0], f"{self.name}/weights", ("Transpose", {"perm": [0, 1, 3, 2]}))
        split = ("Reshape", {"shape": [0, heads, channels // heads, height * width]})
        values = writer.rearranged(self.inputs[1], f"{self.name}/values", split)
        product = writer.operator("MatMul", [values, weights], f"{self.name}/product")
        shape = writer.constant(f"{self.name}/shape", np.array([0, channels, height, width]))
        writer.operator("Reshape", [product, shape], self.name)

    def compute(self, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
        """See `Node`."""
        return self._sums(inputs)

    def compute_integers(self, inputs: Sequence[Quantized], output: Quantized | None, weights: Weights) -> Floats:
        """See `Node`."""
        return self._sums([tensor.integers for tensor in inputs]).astype(np.float32) * scale_ratio(inputs, output)

    def _sums(self, tensors: Sequence[NDArray[Any]]) -> Doubles:
        first, second = (tensor.astype(np.float64) for tensor in tensors)
        values = second.reshape(len(second), first.shape[1], -1, first.shape[-1])
        means: Doubles = np.einsum("nhij,nhdj->nhdi", first, values).reshape(second.shape)
        return means

    @classmethod
    def examples(cls) -> tuple[tuple[Node, ...], ...]:
        """See `Node`."""
        inputs = (Input(name="weights", shape=(2, 6, 6)), Input(name="values", shape=(6, 2, 3)))
        return ((*inputs, cls(name="y", inputs=("weights", "values"), shape=(6, 2, 3))),)
