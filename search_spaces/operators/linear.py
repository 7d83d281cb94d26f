"""Fully connected layers."""

from dataclasses import dataclass

from search_spaces.graph.node import Node


@dataclass(frozen=True, kw_only=True)
class Linear(Node):
    """A fully connected layer with bias, on a flattened input."""

    in_features: int

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """`(out, in)`."""
        return (self.shape[0], self.in_features)
