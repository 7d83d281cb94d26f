"""Look-up of rows by whole numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from search_spaces.graph.node import Doubles, Node, Weights, WeightSpec, operator, untimed
from search_spaces.operators.ends import Input

if TYPE_CHECKING:
    from search_spaces.lowering import Writer


@operator("embedding")
@dataclass(frozen=True, kw_only=True)
class Embedding(Node):
    """The row of a table for every whole number that it takes: from `(tokens,)` to `(tokens, width)`.

    Attributes:
        n_rows: Rows of the table; what it takes is in `0..n_rows - 1`.
        tied_to: Name of an operator whose weight the table is, too; empty: it has its own.
    """

    n_rows: int
    tied_to: str = untimed(default="")

    takes_raw = True

    def weights(self) -> tuple[WeightSpec, ...]:
        """The table, `(n_rows, width)`."""
        shape = (self.n_rows, self.shape[-1])
        return (WeightSpec("weight", shape, ("row", "out"), quantized=True, init="normal", shared_with=self.tied_to),)

    def emit(self, writer: "Writer") -> None:
        """See `Node`."""
        owner = self.tied_to or self.name
        writer.operator("Gather", [writer.weight(self, owner), self.inputs[0]], self.name, axis=0)

    def compute(self, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
        """See `Node`."""
        owner = self.tied_to or self.name
        table = weights[f"{owner}/weight"].astype(np.float64)
        if (scale := weights.get(f"{owner}/weight_scale")) is not None:
            table = table * scale.astype(np.float64)[:, None]
        rows: Doubles = table[inputs[0].astype(np.int64)]
        return rows

    @classmethod
    def examples(cls) -> tuple[tuple[Node, ...], ...]:
        """See `Node`."""
        return ((Input(name="ids", shape=(5,), dtype="int64"), cls(name="y", inputs=("ids",), shape=(5, 4), n_rows=7)),)
