"""What families of networks share: nodes of a block one after the other, the stem, the head."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from search_spaces.choice import Option
from search_spaces.errors import InvalidInput
from search_spaces.formats import FLOAT, W8A8, Precision
from search_spaces.graph import Add, Conv, GlobalAveragePool, Input, Linear, Node, Normalize, Output, Relu, Resize

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


def check_classes(n_classes: int) -> None:
    """Raise `InvalidInput` if there is nothing to tell apart."""
    if n_classes < 2:
        raise InvalidInput(f"n_classes must be at least 2, got {n_classes}")


def strided(length: int, stride: int) -> int:
    """Return the length of a tensor behind an operator with `same` padding and a stride."""
    return -(-length // stride)


def end_precision(format_name: Option) -> Precision:
    """Return what stem or head compute in: w8a8 if the block beside them computes in integers, float32 otherwise."""
    return W8A8 if Precision.from_name(str(format_name)).is_integer else FLOAT


def stem(
    image_shape: tuple[int, int, int], width: int, stride: int, format_choice: str, values: Mapping[str, Option]
) -> Sequence[Node]:
    """Return the first block: pixels normalized, a 3x3 convolution, ReLU; images resized before where that is elastic.

    Args:
        image_shape: Channels, height and width of the images.
        width: Channels of the convolution.
        stride: Its stride.
        format_choice: The choice of the format of the block behind.
        values: Options by choice; `resolution`, if it is there, is the height to resize to.
    """
    builder = BlockBuilder("stem", end_precision(values[format_choice]), image_shape, source="images")
    image: Node = builder.input
    if (resolution := resolution_of(image_shape, values)) != image_shape[1:]:
        image = builder.apply(Resize, "resize", image, shape=(image_shape[0], *resolution))
    conv = builder.conv("conv", builder.apply(Normalize, "normalize", image), width, kernel=3, stride=stride)
    builder.apply(Relu, "relu", conv)
    return builder.nodes


def resolution_of(image_shape: tuple[int, int, int], values: Mapping[str, Option]) -> tuple[int, int]:
    """Return height and width of the images as the network sees them: of the chosen height, in their own proportions."""
    _, height, width = image_shape
    chosen = int(values.get("resolution", height))
    return chosen, max(1, round(width * chosen / height))


def head(shape: tuple[int, ...], n_classes: int, format_name: Option) -> Sequence[Node]:
    """Return the last block: mean over height and width, a linear layer, the answer.

    Args:
        shape: Of what the block before gives.
        n_classes: Number of classes.
        format_name: Format of the block before.
    """
    builder = BlockBuilder("head", end_precision(format_name), shape)
    pool = builder.apply(GlobalAveragePool, "pool", builder.input, shape=(shape[0], 1, 1))
    linear = builder.apply(Linear, "linear", pool, shape=(n_classes,), in_features=shape[0])
    answer = Output(name="logits", inputs=(linear.name,), shape=(n_classes,), precision=builder.precision)
    return (*builder.nodes, answer)
