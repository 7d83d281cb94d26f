"""Decoders in LLaMA's manner: RMSNorm, rotary positions, groups of heads that share keys and values, SwiGLU, tied ends.

Elastic: depth, by an order in which layers are left out; of each layer the number of groups of heads and the width of its
inner layer; a scheme for each attention, each inner layer and the table at both ends; and the bits of the cache. The stream
between them stays float32. Source: Touvron et al. 2023, arXiv:2302.13971; Ainslie et al. 2023, arXiv:2305.13245.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from search_spaces.errors import InvalidInputError
from search_spaces.families.builder import BlockBuilder
from search_spaces.graph.node import Node
from search_spaces.graph.tensor import TensorSpec
from search_spaces.operators.causal_attention import CausalAttention
from search_spaces.operators.elementwise import Residual, SwiGlu
from search_spaces.operators.embedding import Embedding
from search_spaces.operators.ends import Input, Output
from search_spaces.operators.movement import LastToken
from search_spaces.operators.norm import RmsNorm
from search_spaces.operators.project import Project
from search_spaces.precision.formats import FLOAT32
from search_spaces.precision.scheme import QuantScheme, check_formats
from search_spaces.space.baselines import formats as formats_of
from search_spaces.space.choice import ActiveWhen, Choice, Option
from search_spaces.space.phase import Phase
from search_spaces.space.slots import Slot
from search_spaces.space.space import SPACES, SearchSpace

TABLE = "embedding/table"
TABLE_FORMAT = "embedding/format"
CACHE = "cache_bits"
CACHE_FORMAT = "kv8"
"""Offered among the formats: keys and values may be kept between tokens in 8 bits."""
TEXT_FORMATS = ("float32", "w8a8", "w8a8d-g32", "w4a8d-g32", "w4a8d-g64", "w2a8d-g64", CACHE_FORMAT)
"""For the phase of many tokens static integers, for that of one token groups."""


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """Sizes of the largest network; see `decoder` for what is elastic.

    Attributes:
        vocabulary: Number of tokens.
        width: Elements of a token on the stream.
        depth: Layers.
        kv_heads: Heads of keys and values, each with its group of queries.
        group: Heads of queries that share one of keys and values.
        head_depth: Elements of a head.
        mlp_width: Of the inner layers.
        context: Tokens that it takes at most.
        prefill: Tokens of the prompt whose time is measured; 0: half of the context.
        base: Of the rotary frequencies.
        epsilon: Of the norms.
        is_tied: True if one table serves both ends.
    """

    vocabulary: int
    width: int
    depth: int
    kv_heads: int
    group: int
    head_depth: int
    mlp_width: int
    context: int
    prefill: int = 0
    base: float = 10000.0
    epsilon: float = 1e-5
    is_tied: bool = True

    @property
    def phases(self) -> dict[str, Phase]:
        """The phases whose time is measured: a prompt, and the last token that the context has room for."""
        prefill = self.prefill or max(1, self.context // 2)
        return {"prefill": Phase.prefill(prefill), "decode": Phase.decode(self.context - 1)}


def decoder(
    name: str,
    shape: Decoder,
    *,
    depths: Sequence[int],
    kv_heads: Sequence[int],
    mlp_widths: Sequence[int],
    formats: Sequence[str] = TEXT_FORMATS,
    order: Sequence[int] = (),
) -> SearchSpace:
    """Build the space.

    Args:
        name: Name of the space, recorded with every subnet.
        shape: The largest network.
        depths: Numbers of layers to choose from.
        kv_heads: Numbers of heads of keys and values to choose from, for each layer.
        mlp_widths: Widths of inner layers to choose from, for each layer.
        formats: Schemes to choose from, see `QuantScheme.from_name`; with `kv8` among them also the bits of the cache.
        order: Layers, from 1, in the order in which they are left out; none: from the last but one to the second.

    Raises:
        InvalidInputError: If a format is unknown, a group of it does not divide a width, or sizes do not fit.
    """
    if set(formats) == {CACHE_FORMAT}:
        raise InvalidInputError(f"formats: '{CACHE_FORMAT}' is that of the cache; name one of weights beside it, as w8a8")
    offered = check_formats([each for each in formats if each != CACHE_FORMAT])
    cache = [Choice(CACHE, (8, FLOAT32.bits))] if CACHE_FORMAT in formats else []
    order = tuple(order) or tuple(range(shape.depth - 1, 1, -1))
    for what, options, most in (
        ("depths", depths, shape.depth),
        ("kv_heads", kv_heads, shape.kv_heads),
        ("mlp_widths", mlp_widths, shape.mlp_width),
    ):
        if not options or max(options) != most or min(options) < 1:
            raise InvalidInputError(
                f"{what} of space '{name}' are numbers from 1 up to {most}, which is among them; got {options}"
            )
    is_order = len(set(order)) == len(order) and set(order) <= set(range(1, shape.depth + 1))
    if shape.depth - min(depths) > len(order) or not is_order:
        raise InvalidInputError(f"space '{name}' cannot leave out {shape.depth - min(depths)} layers in the order {order}")
    if shape.head_depth % 16:
        raise InvalidInputError(f"head_depth of space '{name}' must be a multiple of 16, got {shape.head_depth}")
    rows = {shape.width, *mlp_widths, *(n * shape.group * shape.head_depth for n in kv_heads)}
    for scheme in map(QuantScheme.from_name, offered):
        if scheme.is_grouped and (odd := sorted(row for row in rows if row % scheme.group)):
            raise InvalidInputError(f"space '{name}': groups of '{scheme.name}' do not divide the widths {odd}")
    choices = [Choice("depth", tuple(sorted(depths))), *cache, Choice(TABLE_FORMAT, offered)]
    conditions: dict[str, ActiveWhen] = {}
    for layer in range(1, shape.depth + 1):
        own = [
            Choice(f"layer{layer}/attention/kv_heads", tuple(sorted(kv_heads))),
            Choice(f"layer{layer}/attention/format", offered),
            Choice(f"layer{layer}/mlp/width", tuple(sorted(mlp_widths))),
            Choice(f"layer{layer}/mlp/format", offered),
        ]
        choices += own
        active = _active(layer, shape.depth, depths, order)
        if active != tuple(sorted(depths)):
            conditions |= {choice.name: ActiveWhen("depth", active) for choice in own}
    slots = partial(_slots, shape, order, [CACHE] if cache else [])
    whole = Phase(shape.context)
    phases = {phase: partial(slots, each) for phase, each in shape.phases.items()}
    return SearchSpace(name, choices, slots(whole), conditions, phases)


def offered_formats(space: SearchSpace) -> list[str]:
    """Return the formats of which such a space was made."""
    return formats_of(space) + [CACHE_FORMAT for choice in space.choices if choice.name == CACHE]


def _active(layer: int, depth: int, depths: Sequence[int], order: Sequence[int]) -> tuple[int, ...]:
    """Return the depths at which a layer is there."""
    return tuple(sorted(each for each in depths if layer not in order[: depth - each]))


def _slots(shape: Decoder, order: Sequence[int], cache: Sequence[str], phase: Phase) -> list[Slot]:
    slots = [Slot("embedding", (TABLE_FORMAT,), partial(_embedding, shape, phase))]
    for layer in range(1, shape.depth + 1):
        for half, build, size, shared in (("attention", _attention, "kv_heads", cache), ("mlp", _mlp, "width", ())):
            prefix = f"layer{layer}/{half}"
            reads = ("depth", f"{prefix}/{size}", f"{prefix}/format", *shared)
            slots.append(Slot(prefix, reads, partial(_half, shape, phase, order, layer, prefix, build)))
    return [*slots, Slot("head", (TABLE_FORMAT,), partial(_head, shape, phase))]


def _table_scheme(values: Mapping[str, Option]) -> QuantScheme:
    """Return the scheme of the table at both ends: a look-up and a product share it only where it lies in rows."""
    scheme = QuantScheme.from_name(str(values[TABLE_FORMAT]))
    return QuantScheme.from_name(f"w{scheme.weights.bits}a8d-g32") if scheme.is_static else scheme


def _embedding(shape: Decoder, phase: Phase, values: Mapping[str, Option]) -> Sequence[Node]:
    scheme = _table_scheme(values)
    tokens = Input(name="tokens", shape=(phase.tokens,), dtype="int64", precision=scheme)
    table = {"n_rows": shape.vocabulary, "shape": (phase.tokens, shape.width)}
    return tokens, Embedding(name=TABLE, inputs=("tokens",), precision=scheme, **table)  # type: ignore[arg-type]


def _half(
    shape: Decoder,
    phase: Phase,
    order: Sequence[int],
    layer: int,
    prefix: str,
    build: Callable[[Decoder, Phase, BlockBuilder, Node, Mapping[str, Option]], Node],
    values: Mapping[str, Option],
) -> Sequence[Node]:
    """Return half of a layer: norm, what it is made of, and the shortcut."""
    if layer in order[: shape.depth - int(values["depth"])]:
        return ()
    block = BlockBuilder(prefix, QuantScheme.from_name(str(values[f"{prefix}/format"])), (phase.tokens, shape.width))
    x = block.apply(RmsNorm, "norm", block.input, epsilon=shape.epsilon)
    block.apply(Residual, "add", block.input, build(shape, phase, block, x, values))
    return block.nodes


def _attention(shape: Decoder, phase: Phase, block: BlockBuilder, x: Node, values: Mapping[str, Option]) -> Node:
    kv_heads = int(values[f"{block.prefix}/kv_heads"])
    heads = kv_heads * shape.group
    inputs = [
        _project(block, part, x, n * shape.head_depth)
        for part, n in (("queries", heads), ("keys", kv_heads), ("values", kv_heads))
    ]
    means = block.apply(
        CausalAttention,
        "means",
        *inputs,
        heads=heads,
        kv_heads=kv_heads,
        depth=shape.head_depth,
        context=shape.context,
        past=phase.past,
        is_cached=phase.is_cached,
        cache_bits=int(values.get(CACHE, FLOAT32.bits)),
        base=shape.base,
    )
    return _project(block, "project", means, shape.width)


def _mlp(shape: Decoder, phase: Phase, block: BlockBuilder, x: Node, values: Mapping[str, Option]) -> Node:  # noqa: ARG001
    width = int(values[f"{block.prefix}/width"])
    gate, up = (_project(block, part, x, width) for part in ("gate", "up"))
    return _project(block, "down", block.apply(SwiGlu, "swiglu", gate, up), shape.width)


def _project(block: BlockBuilder, part: str, x: Node, width: int) -> Node:
    return block.apply(Project, part, x, shape=(x.shape[0], width), in_features=x.shape[1])


def _head(shape: Decoder, phase: Phase, values: Mapping[str, Option]) -> Sequence[Node]:
    block = BlockBuilder("head", _table_scheme(values), (phase.tokens, shape.width))
    x: Node = block.apply(RmsNorm, "norm", block.input, epsilon=shape.epsilon)
    if phase.gives_last:
        x = block.apply(LastToken, "last", x, shape=(1, shape.width))
    tied = {"tied_to": TABLE} if shape.is_tied else {}
    scores = block.apply(Project, "scores", x, shape=(x.shape[0], shape.vocabulary), in_features=shape.width, **tied)
    output = Output(name="logits", inputs=(scores.name,), shape=scores.shape, precision=block.precision)
    return [*block.nodes, output]


def kv_heads_from(least: int, shape: Decoder, formats: Sequence[str]) -> list[int]:
    """Return numbers of heads of keys and values, from some up to all, whose widths the groups of all formats divide."""
    schemes = [QuantScheme.from_name(name) for name in formats if name != CACHE_FORMAT]
    group = max((scheme.group or 1 for scheme in schemes), default=1)
    heads = [n for n in range(max(1, least), shape.kv_heads) if n * shape.group * shape.head_depth % group == 0]
    return [*heads, shape.kv_heads]


def _elastic(name: str, shape: Decoder, formats: Sequence[str]) -> SearchSpace:
    """Return the space of about half to all of a decoder."""
    return decoder(
        name,
        shape,
        depths=tuple(range((shape.depth + 1) // 2, shape.depth + 1)),
        kv_heads=kv_heads_from(1, shape, formats),
        mlp_widths=tuple(shape.mlp_width * k // 3 for k in (1, 2, 3)),
        formats=formats,
    )


BYTES = TensorSpec("logits", (128, 256))


@SPACES.register("decoder-tiny")
def decoder_tiny(
    input_shape: tuple[int, ...] = (128,), outputs: TensorSpec = BYTES, formats: Sequence[str] = TEXT_FORMATS
) -> SearchSpace:
    """Some hundred thousand parameters: bytes of small texts."""
    sizes = {"width": 128, "depth": 4, "kv_heads": 2, "group": 2, "head_depth": 32, "mlp_width": 384}
    shape = Decoder(vocabulary=outputs.shape[-1], context=input_shape[0], **sizes)  # type: ignore[arg-type]
    return _elastic("decoder-tiny", shape, formats)


@SPACES.register("decoder-small")
def decoder_small(
    input_shape: tuple[int, ...] = (256,), outputs: TensorSpec = BYTES, formats: Sequence[str] = TEXT_FORMATS
) -> SearchSpace:
    """Some million parameters: pieces of words of tens of megabytes."""
    sizes = {"width": 256, "depth": 6, "kv_heads": 4, "group": 2, "head_depth": 32, "mlp_width": 768}
    shape = Decoder(vocabulary=outputs.shape[-1], context=input_shape[0], **sizes)  # type: ignore[arg-type]
    return _elastic("decoder-small", shape, formats)
