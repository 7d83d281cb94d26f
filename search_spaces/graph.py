"""The typed network: operators and Graph, the one definition that everything else reads.

A new operator is a dataclass here and one function in each reading: `lowering.py`, `nas/operators.py` and
`nas/export/reference.py`; in `costs.py` if it multiplies.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from search_spaces.formats import FLOAT, INT8, NumberFormat, Precision


@dataclass(frozen=True, kw_only=True)
class Node:
    """One operator and the tensor it gives.

    Attributes:
        name: Unique within the network, levels separated by `/`; names its output tensor and its shared weights.
        inputs: Names of the nodes it takes.
        shape: Shape of its output without the batch axis.
        precision: What the block it belongs to computes in.
    """

    name: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    precision: Precision = FLOAT


@dataclass(frozen=True, kw_only=True)
class Input(Node):
    """The images, or, in a block on its own, the tensor that it takes from the block before."""

    inputs: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Normalize(Node):
    """Raw pixels to (x - mean) / std, per channel."""


@dataclass(frozen=True, kw_only=True)
class Conv(Node):
    """A convolution with `same` padding and a batch norm behind it, which becomes scale and bias once trained.

    Attributes:
        in_channels: Channels taken.
        kernel: Height and width of the kernel, odd.
        stride: Step in both directions.
        groups: 1, or `in_channels` for a depthwise convolution.
        batch_norm: False: only a bias behind it.
    """

    in_channels: int
    kernel: int
    stride: int = 1
    groups: int = 1
    batch_norm: bool = True

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """`(out, in / groups, kernel, kernel)`."""
        return (self.shape[0], self.in_channels // self.groups, self.kernel, self.kernel)


@dataclass(frozen=True, kw_only=True)
class Linear(Node):
    """A fully connected layer with bias, on a flattened input."""

    in_features: int

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """`(out, in)`."""
        return (self.shape[0], self.in_features)


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


@dataclass(frozen=True, kw_only=True)
class Resize(Node):
    """Images of another height and width, bilinear between the centres of pixels."""


@dataclass(frozen=True, kw_only=True)
class GlobalAveragePool(Node):
    """Mean over height and width, to `(channels, 1, 1)`."""


@dataclass(frozen=True, kw_only=True)
class Output(Node):
    """What the network answers: float32, never quantized."""


@dataclass(frozen=True, kw_only=True)
class Quantize(Node):
    """The tensor rounded to integers times a scale; placed by `quantization.py` alone.

    Attributes:
        format: The integers.
    """

    format: NumberFormat = field(default=INT8)


@dataclass(frozen=True)
class Graph:
    """A network, or a block on its own: nodes in an order in which they can be computed.

    Attributes:
        nodes: An `Input` first, the result last.
        arrivals: For a whole network of a space: its blocks without quantizers, each with the format its input has.

    Raises:
        ValueError: If a node takes what no node before it gives, or a name stands twice.
    """

    nodes: tuple[Node, ...]
    arrivals: tuple[tuple[NumberFormat, tuple[Node, ...]], ...] = ()

    def __post_init__(self) -> None:
        known: set[str] = set()
        for node in self.nodes:
            if missing := [name for name in node.inputs if name not in known]:
                raise ValueError(f"node '{node.name}' takes {missing}, which no node before it gives")
            if node.name in known:
                raise ValueError(f"two nodes are called '{node.name}'")
            known.add(node.name)

    def __getitem__(self, name: str) -> Node:
        return self.by_name[name]

    @property
    def by_name(self) -> dict[str, Node]:
        """The nodes by name."""
        return {node.name: node for node in self.nodes}

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of what the network takes, without the batch axis."""
        return self.nodes[0].shape

    @property
    def output(self) -> Node:
        """The last node."""
        return self.nodes[-1]


def consumers(nodes: Sequence[Node]) -> dict[str, list[Node]]:
    """Return, for every tensor, the nodes that take it, in order."""
    takers: dict[str, list[Node]] = {node.name: [] for node in nodes}
    for node in nodes:
        for name in node.inputs:
            takers[name].append(node)
    return takers


def signature(nodes: Sequence[Node]) -> str:
    """Return what decides how long the nodes take: operators, shapes and lowered types, no names.

    Formats that lower alike share one signature: 4-bit weights lie in int8 containers and take as long as 8-bit ones.

    Returns:
        One line such as `input 16x8x8 | conv 32x8x8 k1 s1 g1 int8 (0) | ...`; numbers in brackets are inputs.
    """
    place = {node.name: str(i) for i, node in enumerate(nodes)}
    lines = []
    for node in nodes:
        words = [type(node).__name__.lower(), "x".join(map(str, node.shape))]
        if isinstance(node, Conv):
            words.append(f"k{node.kernel} s{node.stride} g{node.groups}")
        if isinstance(node, Conv | Linear):
            words.append(node.precision.weights.name if not node.precision.is_integer else "int8")
            words += [] if node.precision.per_channel else ["tensor"]
        if isinstance(node, Quantize) and node.format.is_minifloat:
            words.append(node.format.name)
        elif isinstance(node, Quantize):
            words.append(f"uint8 zero {'free' if node.format.asymmetric else node.format.zero_point}")
            words += ["clip"] if node.format.bits < 8 else []
        if node.inputs:
            words.append(f"({' '.join(place[name] for name in node.inputs)})")
        lines.append(" ".join(words))
    return " | ".join(lines)


def n_elements(node: Node) -> int:
    """Return the number of elements of the node's output for one image."""
    return math.prod(node.shape)
