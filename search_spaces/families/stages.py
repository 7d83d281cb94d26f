"""Networks in stages: a stem, stages of blocks of one width and resolution, a linear head.

Elastic: depth and width of each stage, what each block offers besides, its number format, and the resolution of the images.
Source: Cai et al. 2020, arXiv:1908.09791, for what is elastic.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from search_spaces.errors import InvalidInputError
from search_spaces.families.builder import BlockBuilder, strided
from search_spaces.families.heads import head, resolution_of, stem
from search_spaces.graph.node import Node
from search_spaces.graph.tensor import TensorSpec
from search_spaces.operators.elementwise import Relu
from search_spaces.precision.scheme import QuantScheme, check_formats
from search_spaces.space.choice import ActiveWhen, Choice, Option
from search_spaces.space.slots import Slot
from search_spaces.space.space import SearchSpace


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Blocks of one width and resolution.

    Attributes:
        depths: Numbers of blocks to choose from.
        widths: Numbers of channels to choose from.
        stride: Stride of the first block.
        activation: What stands behind convolutions, for families that leave it open.
        squeeze_excite: Whether channels are weighed by a gate, likewise.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    stride: int = 1
    activation: type[Node] = Relu
    squeeze_excite: bool = False


BuildBlock = Callable[[BlockBuilder, Stage, int, int, Mapping[str, Option]], None]
"""Appends the nodes of a block, given its stage, its output width, its stride, and its own choices by their last level."""


@dataclass(frozen=True, kw_only=True)
class _Position:
    """Position of a block; the names of its choices follow from it.

    Attributes:
        stage: From 1.
        block: In its stage, from 1.
        width_before: The choice of the width of its input; None: that of the stem.
        strides: Of everything before it; for a head, of all blocks.
    """

    stage: int
    block: int
    width_before: str | None
    strides: tuple[int, ...]

    @property
    def name(self) -> str:
        return f"stage{self.stage}/block{self.block}"

    @property
    def depth(self) -> str:
        return f"stage{self.stage}/depth"

    @property
    def width(self) -> str:
        return f"stage{self.stage}/width"

    def choice(self, what: str) -> str:
        return f"{self.name}/{what}"


@dataclass(frozen=True, kw_only=True)
class _Family:
    """Settings that all blocks of a space have in common."""

    image_shape: tuple[int, int, int]
    stem_width: int
    offered: Mapping[str, tuple[Option, ...]]
    build: BuildBlock

    def size(self, strides: Sequence[int], values: Mapping[str, Option]) -> tuple[int, int]:
        height, width = resolution_of(self.image_shape, values)
        for stride in strides:
            height, width = strided(height, stride), strided(width, stride)
        return height, width

    def block(self, at: _Position, stage: Stage, values: Mapping[str, Option]) -> Sequence[Node]:
        if int(values[at.depth]) < at.block:
            return ()
        in_width = self.stem_width if at.width_before is None else int(values[at.width_before])
        precision = QuantScheme.from_name(str(values[at.choice("format")]))
        builder = BlockBuilder(at.name, precision, (in_width, *self.size(at.strides, values)))
        own = {what: values[at.choice(what)] for what in self.offered}
        self.build(builder, stage, int(values[at.width]), stage.stride if at.block == 1 else 1, own)
        return builder.nodes

    def head(self, last: _Position, outputs: TensorSpec, values: Mapping[str, Option]) -> Sequence[Node]:
        if values[last.depth] != last.block:
            return ()
        return head((int(values[last.width]), *self.size(last.strides, values)), outputs, values[last.choice("format")])


def staged(
    name: str,
    build: BuildBlock,
    *,
    input_shape: tuple[int, int, int],
    outputs: TensorSpec,
    stem_width: int,
    stem_stride: int = 1,
    stages: Sequence[Stage],
    offered: Mapping[str, tuple[Option, ...]],
    formats: Sequence[str],
    resolutions: tuple[int, ...] = (),
) -> SearchSpace:
    """Build a space of networks in stages.

    Args:
        name: Name of the space, recorded with every subnet.
        build: Appends the nodes of a block.
        input_shape: Channels, height and width of the images.
        outputs: What the head gives, such as `classes(10)`.
        stem_width: Channels of the first convolution.
        stem_stride: Its stride.
        stages: At least one.
        offered: What each block chooses from besides its format, by the last level of the choices' names.
        formats: Number formats, see `QuantScheme.from_name`.
        resolutions: Heights that images are resized to, in their own proportions; none: they stay as they are.

    Raises:
        InvalidInputError: If there is no stage, a height below 1, or a format that is unknown or stands
            twice.
    """
    if not stages:
        raise InvalidInputError(f"space '{name}' needs at least one stage, got none")
    if too_small := [height for height in resolutions if height < 1]:
        raise InvalidInputError(f"resolutions must be at least 1, got {too_small}")
    offered = {**offered, "format": check_formats(formats)}
    family = _Family(image_shape=input_shape, stem_width=stem_width, offered=offered, build=build)
    everywhere = ("resolution",) if resolutions else ()
    choices = [Choice("resolution", resolutions)] if resolutions else []
    conditions: dict[str, ActiveWhen] = {}
    slots = [Slot("stem", (*everywhere, "stage1/block1/format"),
                  partial(stem, input_shape, stem_width, stem_stride, "stage1/block1/format"))]  # fmt: skip
    strides: tuple[int, ...] = (stem_stride,)
    at = _Position(stage=0, block=0, width_before=None, strides=strides)
    for s, stage in enumerate(stages, start=1):
        choices += [Choice(f"stage{s}/depth", stage.depths), Choice(f"stage{s}/width", stage.widths)]
        before = at.width if s > 1 else None
        for b in range(1, max(stage.depths) + 1):
            at = _Position(stage=s, block=b, width_before=before, strides=strides)
            before = at.width
            choices += [Choice(at.choice(what), options) for what, options in offered.items()]
            conditions |= ActiveWhen.deep_enough(b, at.depth, stage.depths, map(at.choice, offered))
            reads = [*everywhere, at.depth, at.width, *map(at.choice, offered)]
            if at.width_before not in (None, at.width):
                reads.append(str(at.width_before))
            slots.append(Slot(at.name, tuple(reads), partial(family.block, at, stage)))
            strides = (*strides, stage.stride if b == 1 else 1)
    for b in stages[-1].depths:
        last = _Position(stage=len(stages), block=b, width_before=None, strides=strides)
        reads = [*everywhere, last.depth, last.width, last.choice("format")]
        slots.append(Slot(f"head@{b}", tuple(reads), partial(family.head, last, outputs)))
    return SearchSpace(name, choices, slots, conditions)


def check_kernels(kernels: Sequence[int]) -> None:
    """Raise `InvalidInputError` if a kernel size is even: it would have no centre."""
    if even := [kernel for kernel in kernels if kernel % 2 == 0]:
        raise InvalidInputError(f"kernels must be odd, got {even}")
