"""Stem and head of networks on images."""

from collections.abc import Mapping, Sequence

from search_spaces.errors import InvalidInputError
from search_spaces.families.builder import BlockBuilder
from search_spaces.graph.node import Node
from search_spaces.graph.tensor import TensorSpec
from search_spaces.operators.elementwise import Relu
from search_spaces.operators.ends import Output
from search_spaces.operators.linear import Linear
from search_spaces.operators.norm import Normalize
from search_spaces.operators.pool import GlobalAveragePool
from search_spaces.operators.resize import Resize
from search_spaces.precision.scheme import FLOAT, W8A8, QuantScheme
from search_spaces.space.choice import Option


def classes(n: int) -> TensorSpec:
    """Return what a head gives that tells n classes apart: a logit for each.

    Raises:
        InvalidInputError: If there is nothing to tell apart.
    """
    if n < 2:
        raise InvalidInputError(f"there must be at least 2 classes to tell apart, got {n}")
    return TensorSpec("logits", (n,))


TEN_CLASSES = classes(10)


def end_precision(format_name: Option) -> QuantScheme:
    """Return what stem or head compute in: w8a8 if the block beside them computes in integers, float32 otherwise."""
    return W8A8 if QuantScheme.from_name(str(format_name)).is_static else FLOAT


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


def head(shape: tuple[int, ...], outputs: TensorSpec, format_name: Option) -> Sequence[Node]:
    """Return the last block: mean over height and width, a linear layer, the answer.

    Args:
        shape: Of what the block before gives.
        outputs: What it gives, one number for each.
        format_name: Format of the block before.
    """
    builder = BlockBuilder("head", end_precision(format_name), shape)
    pool = builder.apply(GlobalAveragePool, "pool", builder.input, shape=(shape[0], 1, 1))
    linear = builder.apply(Linear, "linear", pool, shape=outputs.shape, in_features=shape[0])
    answer = Output(name=outputs.name, inputs=(linear.name,), shape=outputs.shape, precision=builder.precision)
    return (*builder.nodes, answer)
