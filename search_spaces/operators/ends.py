"""The ends of a network: its input and its output."""

from dataclasses import dataclass

from search_spaces.graph.node import Node


@dataclass(frozen=True, kw_only=True)
class Input(Node):
    """The images, or, in a block on its own, the tensor that it takes from the block before."""

    inputs: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Output(Node):
    """The output of a network: float32, never quantized."""
