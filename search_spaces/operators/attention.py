"""The parts of multi-head attention."""

from dataclasses import dataclass

from search_spaces.graph.node import Node


@dataclass(frozen=True, kw_only=True)
class AttentionScores(Node):
    """Products of queries with keys, shape `(heads, tokens, tokens)`.

    It takes queries and keys of shape `(channels, height, width)`: the heads lie one behind the other in the channels, every
    pixel is a token.

    Attributes:
        depth: Channels of a head.
    """

    depth: int


@dataclass(frozen=True, kw_only=True)
class Softmax(Node):
    """Softmax over the last axis.

    Attributes:
        factor: What its input is multiplied by before.
    """

    factor: float = 1.0


@dataclass(frozen=True, kw_only=True)
class AttentionValues(Node):
    """Means of values, of shape `(channels, height, width)`, by the weights of a softmax; shape as the values.

    It takes weights, then values.
    """
