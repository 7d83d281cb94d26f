"""Look-up of rows by whole numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto

from search_spaces.graph.node import Doubles, Node, Weights, WeightSpec, operator, untimed
from search_spaces.operators.ends import Input
from search_spaces.precision.grouped import dequantize_groups

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
    takes_groups = True
    refers = ("tied_to",)

    def weights(self) -> tuple[WeightSpec, ...]:
        """The table, `(n_rows, width)`."""
        shape = (self.n_rows, self.shape[-1])
        return (WeightSpec("weight", shape, ("row", "out"), quantized=True, init="normal", shared_with=self.tied_to),)

    def emit(self, writer: "Writer") -> None:
        """Gather, or GatherBlockQuantized of groups, which rows and scales that are gathered and multiplied stand for."""
        owner = self.tied_to or self.name
        if not self.precision.is_grouped:
            writer.operator("Gather", [writer.weight(self, owner), self.inputs[0]], self.name, axis=0)
            return
        scheme = self.precision
        if writer.portable:
            self._emit_portable(writer, f"{owner}/weight")
            return
        packed, scales = writer.grouped_weight(f"{owner}/weight", [f"{owner}/weight"], scheme.weights.bits)
        shape = writer.constant(f"{self.name}/shape", np.array([self.n_rows, -1]))
        rows = writer.operator("Reshape", [packed, shape], f"{self.name}/rows")
        writer.contrib(
            "GatherBlockQuantized",
            [rows, self.inputs[0], scales],
            self.name,
            bits=scheme.weights.bits,
            block_size=scheme.group,
            gather_axis=0,
            quantize_axis=1,
        )

    def _emit_portable(self, writer: "Writer", table: str) -> None:
        """Write the product of integers and scales that are looked up: OpenVINO takes no blocks of what has any length."""
        tables = writer.grouped_rows(table)
        codes, scales = (writer.operator("Gather", [x, self.inputs[0]], f"{x}/rows", axis=0) for x in tables)
        groups = writer.constant(f"{self.name}/groups", np.array([0, 0, -1, self.precision.group]))
        flat = writer.constant(f"{self.name}/flat", np.array([0, 0, self.shape[-1]]))
        one = writer.constant(f"{self.name}/one", np.array([0, 0, -1, 1]))
        floats = writer.operator("Cast", [codes], f"{self.name}/floats", to=TensorProto.FLOAT)
        factors = writer.operator("Reshape", [scales, one], f"{self.name}/factors")
        grouped = writer.operator("Reshape", [floats, groups], f"{self.name}/grouped")
        products = writer.operator("Mul", [grouped, factors], f"{self.name}/products")
        writer.operator("Reshape", [products, flat], self.name)

    def compute(self, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
        """See `Node`."""
        owner = self.tied_to or self.name
        table = weights[f"{owner}/weight"].astype(np.float64)
        if (scale := weights.get(f"{owner}/weight_scale")) is not None:
            table = dequantize_groups(table, scale.reshape(self.n_rows, -1))
        rows: Doubles = table[inputs[0].astype(np.int64)]
        return rows

    @classmethod
    def examples(cls) -> tuple[tuple[Node, ...], ...]:
        """See `Node`."""
        return ((Input(name="ids", shape=(5,), dtype="int64"), cls(name="y", inputs=("ids",), shape=(5, 64), n_rows=7)),)
