"""The typed network: number formats, operators and Graph, the one definition that everything else reads.

A new operator is a dataclass here and one function in each reading: `costs.py`, `lowering.py`, `nas/operators.py`
and `nas/export/reference.py`.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from search_spaces.errors import InvalidInput


@dataclass(frozen=True)
class NumberFormat:
    """How numbers are held: float32, or integers times a scale.

    Attributes:
        bits: 32 for float32, otherwise 2 to 8.
        signed: Whether the integers lie around zero. Meaningless for float32.
    """

    bits: int
    signed: bool = True

    def __post_init__(self) -> None:
        if self.bits != 32 and not 2 <= self.bits <= 8:
            raise InvalidInput(f"bits must be one of 2..8 or 32, got {self.bits}")

    @property
    def is_float(self) -> bool:
        """Whether this is float32."""
        return self.bits == 32

    @property
    def low(self) -> int:
        """Least integer of an activation."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """Greatest integer of an activation, and of a weight (whose range is narrow: `-high..high`)."""
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1

    @property
    def zero_point(self) -> int:
        """What stands for zero in the uint8 container of an activation."""
        return 128 if self.signed else 0

    @property
    def stored_bytes(self) -> int:
        """Bytes that an activation takes in memory at run time."""
        return 4 if self.is_float else 1


FLOAT32 = NumberFormat(32)
INT8 = NumberFormat(8)


@dataclass(frozen=True)
class Precision:
    """The number formats that a block computes in.

    Attributes:
        weights: Format of its weights.
        activations: Format of the tensors inside it; both are float32 or both are integers.
    """

    weights: NumberFormat = FLOAT32
    activations: NumberFormat = FLOAT32

    @property
    def is_float(self) -> bool:
        """Whether the block computes in float32."""
        return self.weights.is_float

    @property
    def border(self) -> NumberFormat:
        """Format of the tensors that the block takes and gives: float32 or 8 bits."""
        return FLOAT32 if self.is_float else INT8

    @property
    def name(self) -> str:
        """`float32`, or `w4a8` for 4-bit weights and 8-bit activations."""
        return "float32" if self.is_float else f"w{self.weights.bits}a{self.activations.bits}"

    @classmethod
    def from_name(cls, name: str) -> "Precision":
        """Return the precision called `float32` or `wNaM` with N and M in 2..8.

        Raises:
            InvalidInput: If the name is neither.
        """
        if name == "float32":
            return cls()
        match = re.fullmatch(r"w([2-8])a([2-8])", name)
        if match is None:
            raise InvalidInput(f"a format is 'float32' or 'wNaM' with N and M in 2..8, as 'w4a8'; got '{name}'")
        return cls(NumberFormat(int(match[1])), NumberFormat(int(match[2])))


FLOAT = Precision()
W8A8 = Precision(INT8, INT8)


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
    """

    in_channels: int
    kernel: int
    stride: int = 1
    groups: int = 1

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
class Add(Node):
    """Sum of two tensors of one shape, each with its own scale."""


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
            words.append("float32" if node.precision.is_float else "int8")
        if isinstance(node, Quantize):
            words.append(f"uint8 zero {node.format.zero_point}" + (" clip" if node.format.bits < 8 else ""))
        if node.inputs:
            words.append(f"({' '.join(place[name] for name in node.inputs)})")
        lines.append(" ".join(words))
    return " | ".join(lines)


def n_elements(node: Node) -> int:
    """Return the number of elements of the node's output for one image."""
    return math.prod(node.shape)
