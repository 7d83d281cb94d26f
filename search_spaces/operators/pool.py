"""Pooling."""

from dataclasses import dataclass

from search_spaces.graph.node import Node


@dataclass(frozen=True, kw_only=True)
class GlobalAveragePool(Node):
    """Mean over height and width, to `(channels, 1, 1)`."""
