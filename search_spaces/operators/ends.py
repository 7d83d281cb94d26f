"""The ends of a network: its inputs and its output."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search_spaces.graph.node import Doubles, Node, Weights, operator
from search_spaces.graph.tensor import TensorSpec

if TYPE_CHECKING:
    from search_spaces.lowering import Writer


@operator("input")
@dataclass(frozen=True, kw_only=True)
class Input(Node):
    """What a network takes, or, in a block on its own, the tensor that it takes from the block before.

    Attributes:
        dtype: NumPy's name of the type of its elements; only float32 is ever quantized.
        batched: False if it has no batch axis.
    """

    inputs: tuple[str, ...] = ()
    dtype: str = "float32"
    batched: bool = True

    gives_8_bits = True

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """See `Node`."""
        return (TensorSpec(self.name, self.shape, self.dtype, self.batched),)

    def emit(self, writer: "Writer") -> None:
        """Write nothing: the model's input bears the name of the node."""


@operator("output")
@dataclass(frozen=True, kw_only=True)
class Output(Node):
    """The output of a network, never quantized.

    Attributes:
        dtype: NumPy's name of the type of its elements.
        batched: False if it has no batch axis.
    """

    dtype: str = "float32"
    batched: bool = True

    takes_raw = True
    gives_raw = True

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """See `Node`."""
        return (TensorSpec(self.name, self.shape, self.dtype, self.batched),)

    def emit(self, writer: "Writer") -> None:
        """Rename the operator before, so that the output costs nothing and bears the name of the node."""
        last = writer.operators[-1] if writer.operators else None
        if last is not None and last.output[0] == self.inputs[0] and len(writer.consumers_of[self.inputs[0]]) == 1:
            last.output[0] = self.name
        else:
            writer.operator("Identity", self.inputs, self.name)

    def compute(self, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
        """See `Node`."""
        return inputs[0]
