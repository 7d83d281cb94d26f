"""BlockBuilder: the nodes of a block, one after the other."""

from collections.abc import Sequence
from typing import Any, TypeVar

from search_spaces.graph.node import Node
from search_spaces.operators.conv import Conv
from search_spaces.operators.elementwise import Add
from search_spaces.operators.ends import Input
from search_spaces.operators.movement import DepthToSpace
from search_spaces.precision.scheme import QuantScheme

AnyNode = TypeVar("AnyNode", bound=Node)


class BlockBuilder:
    """The nodes of one block, named `PREFIX/PART`.

    Args:
        prefix: Name of the block.
        precision: What it computes in.
        shape: Of what it takes.
        source: Name of what it takes; by default `PREFIX/input`.
        others: Shapes of what it takes besides, one for each further source of its slot.

    Attributes:
        input: What it takes first.
        others: What it takes besides, called `PREFIX/input2` and so on.
        nodes: What was built so far, the inputs first.
    """

    def __init__(
        self,
        prefix: str,
        precision: QuantScheme,
        shape: tuple[int, ...],
        source: str = "",
        others: Sequence[tuple[int, ...]] = (),
    ) -> None:
        self.prefix = prefix
        self.precision = precision
        self.input = Input(name=source or f"{prefix}/input", shape=shape, precision=precision)
        self.others = [
            Input(name=f"{prefix}/input{k}", shape=other, precision=precision) for k, other in enumerate(others, start=2)
        ]
        self.nodes: list[Node] = [self.input, *self.others]

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
        zero_init: bool = False,
    ) -> Conv:
        """Append a convolution."""
        n, height, width = source.shape
        shape = (channels, strided(height, stride), strided(width, stride))
        settings = {"in_channels": n, "kernel": kernel, "stride": stride, "groups": groups, "batch_norm": batch_norm}
        return self.apply(Conv, part, source, shape=shape, zero_init=zero_init, **settings)

    def enlarge(
        self, part: str, source: Node, channels: int, factor: int, *, kernel: int = 1, zero_init: bool = False
    ) -> DepthToSpace:
        """Append a transposed convolution: a convolution whose channels are moved into pixels.

        Args:
            part: Begins the names of both.
            source: Shape `(c, h, w)`.
            channels: Of the result, `(channels, h * factor, w * factor)`.
            factor: Stride of the transposed convolution.
            kernel: Of the convolution; 1 makes it the transposed one whose kernel is its stride.
            zero_init: See `Conv`.

        Source:
            Shi et al. 2016, arXiv:1609.07009, which shows that both compute the same.
        """
        _, height, width = source.shape
        settings = {"kernel": kernel, "batch_norm": False, "zero_init": zero_init}
        deep = self.conv(f"{part}/conv", source, channels * factor**2, **settings)  # type: ignore[arg-type]
        shape = (channels, height * factor, width * factor)
        return self.apply(DepthToSpace, f"{part}/shuffle", deep, shape=shape, block=factor)

    def depthwise(self, part: str, source: Node, *, kernel: int, stride: int = 1) -> Conv:
        """Append a depthwise convolution."""
        return self.conv(part, source, source.shape[0], kernel=kernel, stride=stride, groups=source.shape[0])

    def add_if_alike(self, part: str, first: Node, second: Node) -> Node:
        """Append the sum of two tensors of one shape; of different shapes return the second."""
        return self.apply(Add, part, first, second) if first.shape == second.shape else second


def strided(length: int, stride: int) -> int:
    """Return the length of a tensor behind an operator with `same` padding and a stride."""
    return -(-length // stride)
