"""Rounding of a tensor to a number format."""

from dataclasses import dataclass, field

from search_spaces.graph.node import Node
from search_spaces.precision.formats import INT8, NumberFormat


@dataclass(frozen=True, kw_only=True)
class Quantize(Node):
    """The tensor rounded to integers times a scale; placed by `precision/placement.py` alone.

    Attributes:
        format: The integers.
    """

    format: NumberFormat = field(default=INT8)
