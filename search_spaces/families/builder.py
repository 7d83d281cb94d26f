"""BlockBuilder: the nodes of a block, one after the other."""

from typing import Any, TypeVar

from search_spaces.graph.node import Node
from search_spaces.operators.conv import Conv
from search_spaces.operators.elementwise import Add
from search_spaces.operators.ends import Input
from search_spaces.precision.formats import Precision

AnyNode = TypeVar("AnyNode", bound=Node)


class BlockBuilder:
    """The nodes of one block, named `PREFIX/PART`.

    Args:
        prefix: Name of the block.
        precision: What it computes in.
        shape: Of what it takes.
        source: Name of what it takes; by default `PREFIX/input`.

    Attributes:
        nodes: What was built so far, the input first.
    """

    def __init__(self, prefix: str, precision: Precision, shape: tuple[int, ...], source: str = "") -> None:
        self.prefix = prefix
        self.precision = precision
        self.input = Input(name=source or f"{prefix}/input", shape=shape, precision=precision)
        self.nodes: list[Node] = [self.input]

    def apply(
        self, kind: type[AnyNode], part: str, *sources: Node, shape: tuple[int, ...] | None = None, **fields: Any
    ) -> AnyNode:
        """Append an operator; its shape is that of its first source unless given."""
        inputs = tuple(source.name for source in sources)
        shape = sources[0].shape if shape is None else shape
        node = kind(name=f"{self.prefix}/{part}", inputs=inputs, shape=shape, precision=self.precision, **fields)
        self.nodes.append(node)
        return node

    def conv(
        self,
        part: str,
        source: Node,
        channels: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        batch_norm: bool = True,
    ) -> Conv:
        """Append a convolution."""
        n, height, width = source.shape
        shape = (channels, strided(height, stride), strided(width, stride))
        settings = {"in_channels": n, "kernel": kernel, "stride": stride, "groups": groups, "batch_norm": batch_norm}
        return self.apply(Conv, part, source, shape=shape, **settings)

    def depthwise(self, part: str, source: Node, *, kernel: int, stride: int = 1) -> Conv:
        """Append a depthwise convolution."""
        return self.conv(part, source, source.shape[0], kernel=kernel, stride=stride, groups=source.shape[0])

    def add_if_alike(self, part: str, first: Node, second: Node) -> Node:
        """Append the sum of two tensors of one shape; of different shapes return the second."""
        return self.apply(Add, part, first, second) if first.shape == second.shape else second


def strided(length: int, stride: int) -> int:
    """Return the length of a tensor behind an operator with `same` padding and a stride."""
    return -(-length // stride)
