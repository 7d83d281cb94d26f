"""Rounding of a tensor to a number format."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from search_spaces.graph.node import Node, WeightSpec, operator, untimed
from search_spaces.precision.formats import INT8, NumberFormat

if TYPE_CHECKING:
    from search_spaces.lowering import Writer


@operator("quantize")
@dataclass(frozen=True, kw_only=True)
class Quantize(Node):
    """The tensor rounded to integers times a scale; placed by `precision/placement.py` alone.

    Attributes:
        format: The integers.
        shares: The quantizer whose scale it has, behind an operator that only moves what that one has rounded; empty: it has
            one of its own.
    """

    format: NumberFormat = field(default=INT8)
    shares: str = untimed("")

    refers = ("shares",)

    def weights(self) -> tuple[WeightSpec, ...]:
        """Its scale, shape `()`, and if it is asymmetric its zero point; parts of the tensor, not counted."""
        roles = ("scale", "zero_point") if self.format.asymmetric else ("scale",)
        return tuple(WeightSpec(role, (), (), init="given") for role in roles)

    def timed_words(self) -> list[str]:
        """See `Node`: formats that lower alike share a signature."""
        if self.format.is_minifloat:
            return [self.format.name]
        zero = "free" if self.format.asymmetric else self.format.zero_point
        return [f"uint8 zero {zero}", *(["clip"] if self.format.bits < 8 and not self.shares else [])]

    def zero_point(self, weights: Mapping[str, Any]) -> int:
        """Return what stands for zero in the uint8 container."""
        return int(weights[f"{self.name}/zero_point"]) if self.format.asymmetric else self.format.zero_point

    def bounds(self, weights: Mapping[str, Any]) -> tuple[int, int]:
        """Return the smallest and the largest integer, around zero."""
        if self.format.asymmetric:
            zero_point = self.zero_point(weights)
            return -zero_point, self.format.n_levels - 1 - zero_point
        return self.format.qmin, self.format.qmax

    def saturate(self, values: NDArray[np.floating[Any]], weights: Mapping[str, Any]) -> NDArray[np.int64]:
        """Round values in units of the scale half to even, and saturate them; around zero."""
        integers: NDArray[np.int64] = np.clip(np.rint(values), *self.bounds(weights)).astype(np.int64)
        return integers

    def emit(self, writer: "Writer") -> None:
        """QuantizeLinear, a Clip of the uint8 tensor below 8 bits, DequantizeLinear.

        Where it shares a scale the values are in range already; runtimes move the integers then.
        """
        zero, (qmin, qmax) = self.zero_point(writer.weights), self.bounds(writer.weights)
        scale = writer.constant(f"{self.name}/scale", np.float32(writer.weights[f"{self.name}/scale"]))
        zero_point = writer.constant(f"{self.name}/zero_point", np.uint8(zero))
        integers = f"{self.name}/integers"
        if self.format.bits == 8 or self.shares:
            writer.operator("QuantizeLinear", [self.inputs[0], scale, zero_point], integers)
        else:
            wide = writer.operator("QuantizeLinear", [self.inputs[0], scale, zero_point], f"{self.name}/wide")
            low = writer.constant(f"{self.name}/low", np.uint8(zero + qmin))
            high = writer.constant(f"{self.name}/high", np.uint8(zero + qmax))
            writer.operator("Clip", [wide, low, high], integers)
        writer.operator("DequantizeLinear", [integers, scale, zero_point], self.name)


def quantizers(nodes: Iterable[Node]) -> Iterator[Quantize]:
    """Yield all quantizers of a network, those within its operators too."""
    for node in nodes:
        yield from (each for each in (node, *node.inner) if isinstance(each, Quantize))
