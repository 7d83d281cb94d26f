"""Images of another size."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from search_spaces.graph.node import Doubles, Node, Weights, labelled, operator
from search_spaces.operators.ends import Input
from search_spaces.operators.movement import Movement

if TYPE_CHECKING:
    from search_spaces.lowering import Writer


@operator("resize")
@dataclass(frozen=True, kw_only=True)
class Resize(Node):
    """Images of another height and width, bilinear between the centres of pixels."""

    takes_raw = True

    def emit(self, writer: "Writer") -> None:
        """See `Node`."""
        sizes = writer.constant(f"{self.name}/sizes", np.array(self.shape[1:]))
        settings = {"axes": [2, 3], "mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        writer.operator("Resize", [self.inputs[0], "", "", sizes], self.name, **settings)

    def compute(self, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
        """See `Node`."""
        resized = inputs[0]
        for axis, length in ((2, self.shape[1]), (3, self.shape[2])):
            last = resized.shape[axis] - 1
            position = np.clip((np.arange(length) + 0.5) * ((last + 1) / length) - 0.5, 0, last)
            low = np.floor(position).astype(int)
            share = (position - low).reshape(-1, *[1] * (3 - axis))
            resized = resized.take(low, axis) * (1 - share) + resized.take(np.minimum(low + 1, last), axis) * share
        return resized

    @classmethod
    def examples(cls) -> tuple[tuple[Node, ...], ...]:
        """See `Node`."""
        x = Input(name="x", shape=(2, 6, 8))
        return tuple((x, cls(name="y", inputs=("x",), shape=shape)) for shape in ((2, 3, 4), (2, 9, 11)))


@operator("upsample")
@dataclass(frozen=True, kw_only=True)
class Upsample(Movement):
    """Every pixel repeated, to a whole number of times the height and width: the nearest pixel.

    Attributes:
        factor: How often, in both directions.
    """

    factor: int = labelled("f", 2)

    def emit(self, writer: "Writer") -> None:
        """See `Node`."""
        scales = writer.constant(f"{self.name}/scales", np.array([1, 1, self.factor, self.factor], np.float32))
        settings = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        writer.operator("Resize", [self.inputs[0], "", scales], self.name, **settings)

    def compute(self, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
        """See `Node`."""
        return inputs[0].repeat(self.factor, axis=2).repeat(self.factor, axis=3)

    @classmethod
    def examples(cls) -> tuple[tuple[Node, ...], ...]:
        """See `Node`."""
        return ((Input(name="x", shape=(2, 3, 4)), cls(name="y", inputs=("x",), shape=(2, 6, 8))),)
