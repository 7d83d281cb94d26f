"""Normalization with fixed statistics."""

from dataclasses import dataclass

from search_spaces.graph.node import Node


@dataclass(frozen=True, kw_only=True)
class Normalize(Node):
    """Raw pixels to (x - mean) / std, per channel."""
