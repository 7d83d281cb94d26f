"""U-Net: levels of ever smaller and deeper tensors and back, each level on the way back joined with what its level gave.

Elastic: width of each level, depth of each level on the way down, kernel and number format of each block.
Source: Ronneberger et al. 2015, arXiv:1505.04597; convolutions are padded and followed by batch norm, as is usual since.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from search_spaces.errors import InvalidInputError
from search_spaces.families.builder import BlockBuilder
from search_spaces.families.stages import check_kernels
from search_spaces.graph.node import Node
from search_spaces.graph.tensor import TensorSpec
from search_spaces.operators.elementwise import Relu
from search_spaces.operators.ends import Output
from search_spaces.operators.movement import Concat
from search_spaces.operators.norm import Normalize
from search_spaces.operators.pool import MaxPool
from search_spaces.precision.scheme import FLOAT, FORMATS, QuantScheme, check_formats
from search_spaces.space.choice import ActiveWhen, Choice, Option
from search_spaces.space.slots import PREVIOUS, Slot
from search_spaces.space.space import SPACES, SearchSpace

HALF = 2  # what a level is of the one above


@dataclass(frozen=True, kw_only=True)
class Level:
    """A resolution of the network.

    Attributes:
        depths: Numbers of blocks on the way down to choose from.
        widths: Numbers of channels to choose from.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class _Family:
    """Settings that all blocks of a space have in common."""

    shape: tuple[int, int, int]
    outputs: TensorSpec

    def at(self, level: int, values: Mapping[str, Option]) -> tuple[int, int, int]:
        """Return the shape of the tensors of a level, counted from 1."""
        shrunk = HALF ** (level - 1)
        return (int(values[f"level{level}/width"]), self.shape[1] // shrunk, self.shape[2] // shrunk)

    def down(self, level: int, index: int, values: Mapping[str, Option]) -> Sequence[Node]:
        """Return a block on the way down; the first of a level halves what it takes, that of the first one normalizes."""
        if int(values[f"level{level}/depth"]) < index:
            return ()
        name = f"down{level}/block{index}"
        precision, shape = QuantScheme.from_name(str(values[f"{name}/format"])), self.at(level, values)
        if index > 1:
            builder = BlockBuilder(name, precision, shape)
            x: Node = builder.input
        elif level > 1:
            builder = BlockBuilder(name, precision, self.at(level - 1, values))
            x = builder.apply(MaxPool, "pool", builder.input, shape=(builder.input.shape[0], *shape[1:]), size=HALF)
        else:
            builder = BlockBuilder(name, precision, self.shape, source="images")
            x = builder.apply(Normalize, "normalize", builder.input)
        x = builder.conv("conv", x, shape[0], kernel=int(values[f"{name}/kernel"]))
        builder.apply(Relu, "relu", x)
        return builder.nodes

    def up(self, level: int, values: Mapping[str, Option]) -> Sequence[Node]:
        """Return a block on the way up: the level below enlarged, joined with what this level gave on the way down."""
        name, shape = f"up{level}", self.at(level, values)
        precision = QuantScheme.from_name(str(values[f"{name}/format"]))
        builder = BlockBuilder(name, precision, self.at(level + 1, values), others=[shape])
        enlarged = builder.enlarge("enlarge", builder.input, shape[0], HALF)
        joined = builder.apply(Concat, "concat", enlarged, builder.others[0], shape=(HALF * shape[0], *shape[1:]))
        x = builder.conv("conv", joined, shape[0], kernel=int(values[f"{name}/kernel"]))
        builder.apply(Relu, "relu", x)
        return builder.nodes

    def head(self, values: Mapping[str, Option]) -> Sequence[Node]:
        builder = BlockBuilder("head", FLOAT, self.at(1, values))
        logits = builder.conv("conv", builder.input, self.outputs.shape[0], batch_norm=False)
        return (*builder.nodes, Output(name=self.outputs.name, inputs=(logits.name,), shape=self.outputs.shape))


def unet(
    name: str,
    *,
    input_shape: tuple[int, int, int],
    outputs: TensorSpec,
    levels: Sequence[Level],
    kernels: tuple[int, ...] = (3,),
    formats: Sequence[str] = FORMATS,
) -> SearchSpace:
    """Build the space.

    Args:
        name: Name of the space, recorded with every subnet.
        input_shape: Channels, height and width of the images.
        outputs: Numbers for each pixel, as the logits of its classes.
        levels: From the top, at least two.
        kernels: Kernel sizes to choose from, odd.
        formats: Number formats to choose from, see `QuantScheme.from_name`.

    Raises:
        InvalidInputError: If there are fewer than two levels, the images cannot be halved so often, the outputs are not of
            the size of the images, a kernel is even, or a format is unknown.
    """
    check_kernels(kernels)
    if len(levels) < 2:
        raise InvalidInputError(f"space '{name}' needs at least two levels, got {len(levels)}")
    divisor = HALF ** (len(levels) - 1)
    if any(length % divisor for length in input_shape[1:]):
        size = "x".join(map(str, input_shape[1:]))
        raise InvalidInputError(f"space '{name}' takes images whose sides are multiples of {divisor}, got {size}")
    if outputs.shape[1:] != input_shape[1:]:
        raise InvalidInputError(
            f"space '{name}' gives something for each pixel of {input_shape[1:]}, not {outputs.shape}; "
            "use it with `task: segmentation`"
        )
    family = _Family(shape=input_shape, outputs=outputs)
    offered: dict[str, tuple[Option, ...]] = {"kernel": kernels, "format": check_formats(formats)}
    choices: list[Choice] = []
    conditions: dict[str, ActiveWhen] = {}
    slots: list[Slot] = []
    for n, level in enumerate(levels, start=1):
        depth, width = f"level{n}/depth", f"level{n}/width"
        choices += [Choice(depth, level.depths), Choice(width, level.widths)]
        for index in range(1, max(level.depths) + 1):
            names = {what: f"down{n}/block{index}/{what}" for what in offered}
            choices += [Choice(names[what], options) for what, options in offered.items()]
            conditions |= ActiveWhen.deep_enough(index, depth, level.depths, names.values())
            before = [f"level{n - 1}/width"] if n > 1 and index == 1 else []
            reads = (depth, width, *before, *names.values())
            slots.append(Slot(f"down{n}/block{index}", reads, partial(family.down, n, index)))
    for n in range(len(levels) - 1, 0, -1):
        names = {what: f"up{n}/{what}" for what in offered}
        choices += [Choice(names[what], options) for what, options in offered.items()]
        skip = tuple(f"down{n}/block{index}" for index in range(max(levels[n - 1].depths), 0, -1))
        reads = (f"level{n}/width", f"level{n + 1}/width", *names.values())
        slots.append(Slot(f"up{n}", reads, partial(family.up, n), sources=(PREVIOUS, skip)))
    slots.append(Slot("head", ("level1/width",), family.head))
    return SearchSpace(name, choices, slots, conditions)


@SPACES.register("unet")
def unet_small(
    input_shape: tuple[int, int, int] = (1, 32, 32),
    outputs: TensorSpec = TensorSpec("logits", (11, 32, 32)),  # noqa: B008 - frozen
    formats: Sequence[str] = FORMATS,
) -> SearchSpace:
    """Three levels for small images."""
    return unet(
        "unet",
        input_shape=input_shape,
        outputs=outputs,
        levels=(
            Level(depths=(1, 2), widths=(8, 16)),
            Level(depths=(1, 2), widths=(16, 32)),
            Level(depths=(1, 2), widths=(32, 48)),
        ),
        formats=formats,
    )
