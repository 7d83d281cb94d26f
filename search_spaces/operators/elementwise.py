"""Operators on each element: activations, sums, products."""

from dataclasses import dataclass

from search_spaces.graph.node import Node


@dataclass(frozen=True, kw_only=True)
class Relu(Node):
    """max(x, 0)."""


@dataclass(frozen=True, kw_only=True)
class HardSwish(Node):
    """x times hard-sigmoid of x."""


@dataclass(frozen=True, kw_only=True)
class HardSigmoid(Node):
    """x / 6 + 1 / 2, between 0 and 1."""


@dataclass(frozen=True, kw_only=True)
class Add(Node):
    """Sum of two tensors of one shape, each with its own scale."""


@dataclass(frozen=True, kw_only=True)
class Multiply(Node):
    """Product of a tensor of shape `(channels, height, width)` with a gate of shape `(channels, 1, 1)`."""
