"""Images of another size."""

from dataclasses import dataclass

from search_spaces.graph.node import Node


@dataclass(frozen=True, kw_only=True)
class Resize(Node):
    """Images of another height and width, bilinear between the centres of pixels."""
