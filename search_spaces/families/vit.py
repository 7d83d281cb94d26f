"""Vision transformers in LeViT's manner: convolutions with batch norm instead of linear layers with layer norm, hard-swish.

Elastic: depth and embedding; heads, ratio of the inner layer, and a number format for each attention and each inner layer.
Source: Graham et al. 2021, arXiv:2104.01136. Differs: one stage; a depthwise convolution tells positions (Chu et al. 2021,
arXiv:2102.10882) instead of a learned bias; values are as deep as keys.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from search_spaces.families.builder import BlockBuilder, strided
from search_spaces.families.heads import TEN_CLASSES, head, stem
from search_spaces.graph.node import Node
from search_spaces.graph.tensor import TensorSpec
from search_spaces.operators.attention import AttentionScores, AttentionValues, Softmax
from search_spaces.operators.elementwise import Add, HardSwish
from search_spaces.precision.scheme import FORMATS, QuantScheme, check_formats
from search_spaces.space.choice import ActiveWhen, Choice, Option
from search_spaces.space.slots import Slot
from search_spaces.space.space import SPACES, SearchSpace

EMBEDDING_FORMAT = "embedding/format"


def vit(
    name: str,
    *,
    input_shape: tuple[int, int, int],
    outputs: TensorSpec,
    stem_width: int,
    stem_stride: int = 1,
    embeddings: tuple[int, ...],
    depths: tuple[int, ...],
    heads: tuple[int, ...] = (2, 4),
    head_depth: int = 16,
    mlp_ratios: tuple[int, ...] = (1, 2),
    formats: Sequence[str] = FORMATS,
) -> SearchSpace:
    """Build the space.

    Args:
        name: Name of the space, recorded with every subnet.
        input_shape: Channels, height and width of the images.
        outputs: What the head gives, such as `classes(10)`.
        stem_width: Channels of the first convolution.
        stem_stride: Its stride; the convolution behind it, which makes tokens, has stride 2.
        embeddings: Channels of a token to choose from.
        depths: Numbers of layers to choose from.
        heads: Numbers of heads to choose from.
        head_depth: Channels of a head's queries, keys and values.
        mlp_ratios: Ratios of the inner width to the embedding.
        formats: Number formats to choose from, see `QuantScheme.from_name`.

    Raises:
        InvalidInputError: If a format is unknown.
    """
    offered = check_formats(formats)
    size = (strided(input_shape[1], stem_stride), strided(input_shape[2], stem_stride))
    grid = (strided(size[0], 2), strided(size[1], 2))
    choices = [Choice("depth", depths), Choice("embedding", embeddings), Choice(EMBEDDING_FORMAT, offered)]
    slots = [
        Slot("stem", (EMBEDDING_FORMAT,), partial(stem, input_shape, stem_width, stem_stride, EMBEDDING_FORMAT)),
        Slot("tokens", ("embedding", EMBEDDING_FORMAT), partial(_tokens, (stem_width, *size))),
    ]
    conditions: dict[str, ActiveWhen] = {}
    halves = (_Half("attention", "heads", heads, partial(_attention, head_depth)), _Half("mlp", "ratio", mlp_ratios, _mlp))
    for layer in range(1, max(depths) + 1):
        for half in halves:
            prefix = f"layer{layer}/{half.name}"
            own = [Choice(f"{prefix}/{half.choice}", half.options), Choice(f"{prefix}/format", offered)]
            choices += own
            conditions |= ActiveWhen.deep_enough(layer, "depth", depths, (choice.name for choice in own))
            reads = ("depth", "embedding", *(choice.name for choice in own))
            slots.append(Slot(prefix, reads, partial(_layer, layer, prefix, grid, half)))
    for depth in depths:
        reads = ("depth", "embedding", f"layer{depth}/mlp/format")
        slots.append(Slot(f"head@{depth}", reads, partial(_head, depth, grid, outputs)))
    return SearchSpace(name, choices, slots, conditions)


class _Half(NamedTuple):
    """Half of a layer: its name, what is elastic in it besides the format, and what appends its nodes."""

    name: str
    choice: str
    options: tuple[int, ...]
    build: Callable[[BlockBuilder, int], None]


def _tokens(shape: tuple[int, int, int], values: Mapping[str, Option]) -> Sequence[Node]:
    block = BlockBuilder("tokens", QuantScheme.from_name(str(values[EMBEDDING_FORMAT])), shape)
    block.conv("conv", block.input, int(values["embedding"]), kernel=3, stride=2)
    return block.nodes


def _layer(layer: int, prefix: str, grid: tuple[int, int], half: _Half, values: Mapping[str, Option]) -> Sequence[Node]:
    if int(values["depth"]) < layer:
        return ()
    precision = QuantScheme.from_name(str(values[f"{prefix}/format"]))
    block = BlockBuilder(prefix, precision, (int(values["embedding"]), *grid))
    half.build(block, int(values[f"{prefix}/{half.choice}"]))
    return block.nodes


def _attention(head_depth: int, block: BlockBuilder, heads: int) -> None:
    """Append positions, attention of several heads, projection and shortcuts."""
    embedding, height, width = block.input.shape
    x = block.apply(Add, "position/add", block.input, block.depthwise("position", block.input, kernel=3))
    queries, keys, values = (block.conv(part, x, heads * head_depth) for part in ("queries", "keys", "values"))
    n_tokens = height * width
    scores = block.apply(AttentionScores, "scores", queries, keys, shape=(heads, n_tokens, n_tokens), depth=head_depth)
    weights = block.apply(Softmax, "weights", scores, factor=1 / math.sqrt(head_depth))
    means = block.apply(AttentionValues, "means", weights, values, shape=values.shape)
    block.apply(Add, "add", x, block.conv("project", block.apply(HardSwish, "swish", means), embedding))


def _mlp(block: BlockBuilder, ratio: int) -> None:
    """Append two pointwise convolutions and the shortcut."""
    embedding = block.input.shape[0]
    inner = block.apply(HardSwish, "swish", block.conv("expand", block.input, embedding * ratio))
    block.apply(Add, "add", block.input, block.conv("project", inner, embedding))


def _head(depth: int, grid: tuple[int, int], outputs: TensorSpec, values: Mapping[str, Option]) -> Sequence[Node]:
    if values["depth"] != depth:
        return ()
    return head((int(values["embedding"]), *grid), outputs, values[f"layer{depth}/mlp/format"])


@SPACES.register("vit-digits")
def vit_digits(
    input_shape: tuple[int, int, int] = (1, 8, 8), outputs: TensorSpec = TEN_CLASSES, formats: Sequence[str] = FORMATS
) -> SearchSpace:
    """Small images: 4x4 tokens of scikit-learn's digits."""
    return vit(
        "vit-digits",
        input_shape=input_shape,
        outputs=outputs,
        stem_width=16,
        embeddings=(32, 48),
        depths=(1, 2),
        formats=formats,
    )


@SPACES.register("vit-28")
def vit_28(
    input_shape: tuple[int, int, int] = (1, 28, 28), outputs: TensorSpec = TEN_CLASSES, formats: Sequence[str] = FORMATS
) -> SearchSpace:
    """Images of about 28x28 pixels: 7x7 tokens of Fashion-MNIST."""
    return vit(
        "vit-28",
        input_shape=input_shape,
        outputs=outputs,
        stem_width=32,
        stem_stride=2,
        embeddings=(64, 96, 128),
        depths=(2, 3, 4),
        mlp_ratios=(2, 3, 4),
        formats=formats,
    )
