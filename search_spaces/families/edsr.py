"""EDSR: residual blocks without batch norm between two convolutions, a long skip, and pixels made of channels at the end.

What the network computes is added to the picture with its pixels repeated, so that training begins there. Elastic: depth and
width of the body, kernel and number format of each block, format of the tail.
Source: Lim et al. 2017, arXiv:1707.02921; the sum with repeated pixels of Du et al. 2021, arXiv:2105.10288, section 3.1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from search_spaces.errors import InvalidInputError
from search_spaces.families.builder import BlockBuilder
from search_spaces.families.heads import end_precision
from search_spaces.families.stages import check_kernels
from search_spaces.graph.node import Node
from search_spaces.graph.tensor import TensorSpec
from search_spaces.operators.elementwise import Add, Relu
from search_spaces.operators.ends import Input, Output
from search_spaces.operators.norm import Normalize
from search_spaces.operators.resize import Upsample
from search_spaces.precision.scheme import FLOAT, FORMATS, QuantScheme, check_formats
from search_spaces.space.choice import ActiveWhen, Choice, Option
from search_spaces.space.slots import PREVIOUS, Slot
from search_spaces.space.space import SPACES, SearchSpace

SCALES = (2, 3, 4)
PICTURE = "picture"
STEM = "stem"


@dataclass(frozen=True, kw_only=True)
class _Family:
    """Settings that all blocks of a space have in common."""

    shape: tuple[int, int, int]
    outputs: TensorSpec
    scale: int

    def picture(self, values: Mapping[str, Option]) -> Sequence[Node]:  # noqa: ARG002
        return [Input(name="images", shape=self.shape)]

    def trunk(self, values: Mapping[str, Option]) -> tuple[int, int, int]:
        return (int(values["width"]), *self.shape[1:])

    def stem(self, values: Mapping[str, Option]) -> Sequence[Node]:
        builder = BlockBuilder(STEM, end_precision(values["block1/format"]), self.shape)
        normalized = builder.apply(Normalize, "normalize", builder.input)
        builder.conv("conv", normalized, int(values["width"]), kernel=3, batch_norm=False)
        return builder.nodes

    def block(self, index: int, values: Mapping[str, Option]) -> Sequence[Node]:
        if int(values["depth"]) < index:
            return ()
        name, shape = f"block{index}", self.trunk(values)
        builder = BlockBuilder(name, QuantScheme.from_name(str(values[f"{name}/format"])), shape)
        kernel = int(values[f"{name}/kernel"])
        x: Node = builder.conv("conv1", builder.input, shape[0], kernel=kernel, batch_norm=False)
        x = builder.conv("conv2", builder.apply(Relu, "relu", x), shape[0], kernel=3, batch_norm=False)
        builder.apply(Add, "add", builder.input, x)
        return builder.nodes

    def tail(self, values: Mapping[str, Option]) -> Sequence[Node]:
        shape = self.trunk(values)
        builder = BlockBuilder("tail", QuantScheme.from_name(str(values["tail/format"])), shape, others=[shape])
        body = builder.conv("conv", builder.input, shape[0], kernel=3, batch_norm=False)
        joined = builder.apply(Add, "add", body, builder.others[0])
        builder.enlarge("enlarge", joined, self.shape[0], self.scale, kernel=3, zero_init=True)
        return builder.nodes

    def sum(self, values: Mapping[str, Option]) -> Sequence[Node]:  # noqa: ARG002
        builder = BlockBuilder("sum", FLOAT, self.outputs.shape, others=[self.shape])
        repeated = builder.apply(Upsample, "upsample", builder.others[0], shape=self.outputs.shape, factor=self.scale)
        total = builder.apply(Add, "add", builder.input, repeated)
        return (*builder.nodes, Output(name=self.outputs.name, inputs=(total.name,), shape=self.outputs.shape))


def edsr(
    name: str,
    *,
    input_shape: tuple[int, int, int],
    outputs: TensorSpec,
    depths: tuple[int, ...],
    widths: tuple[int, ...],
    kernels: tuple[int, ...],
    formats: Sequence[str] = FORMATS,
) -> SearchSpace:
    """Build the space.

    Args:
        name: Name of the space, recorded with every subnet.
        input_shape: Channels, height and width of small pictures: those at which time is measured; the networks take any.
        outputs: The large pictures, 2, 3 or 4 times as high and wide.
        depths: Numbers of blocks to choose from.
        widths: Numbers of channels to choose from.
        kernels: Kernel sizes of the first convolution of each block to choose from, odd.
        formats: Number formats to choose from, see `QuantScheme.from_name`.

    Raises:
        InvalidInputError: If the outputs are no enlarged inputs, the family lacks their scale, a kernel is even, or a format
            is unknown.
    """
    check_kernels(kernels)
    family = _Family(shape=input_shape, outputs=outputs, scale=scale_of(name, input_shape, outputs))
    offered: dict[str, tuple[Option, ...]] = {"kernel": kernels, "format": check_formats(formats)}
    choices = [Choice("depth", depths), Choice("width", widths)]
    conditions: dict[str, ActiveWhen] = {}
    slots = [
        Slot(PICTURE, (), family.picture, sources=((),)),
        Slot(STEM, ("width", "block1/format"), family.stem),
    ]
    for index in range(1, max(depths) + 1):
        names = {what: f"block{index}/{what}" for what in offered}
        choices += [Choice(names[what], options) for what, options in offered.items()]
        conditions |= ActiveWhen.deep_enough(index, "depth", depths, names.values())
        reads = ("depth", "width", *names.values())
        slots.append(Slot(f"block{index}", reads, partial(family.block, index)))
    choices.append(Choice("tail/format", offered["format"]))
    slots += [
        Slot("tail", ("width", "tail/format"), family.tail, sources=(PREVIOUS, (STEM,))),
        Slot("sum", (), family.sum, sources=(PREVIOUS, (PICTURE,))),
    ]
    return SearchSpace(name, choices, slots, conditions)


def scale_of(name: str, input_shape: tuple[int, ...], outputs: TensorSpec) -> int:
    """Return by how much pictures are enlarged.

    Raises:
        InvalidInputError: If the outputs are no enlarged inputs, or the family lacks the scale.
    """
    channels, *size = outputs.shape
    ratios = [large / small for large, small in zip(size, input_shape[1:], strict=False)]
    if len(size) != 2 or channels != input_shape[0] or len(set(ratios)) != 1:
        raise InvalidInputError(
            f"space '{name}' enlarges pictures: of shape {input_shape} it cannot give {outputs.shape}; "
            "use it with `task: super_resolution`"
        )
    if ratios[0] not in SCALES:
        raise InvalidInputError(f"space '{name}' enlarges pictures by {', '.join(map(str, SCALES))}; got {ratios[0]:g}")
    return int(ratios[0])


@SPACES.register("edsr")
def edsr_small(
    input_shape: tuple[int, int, int] = (1, 128, 128),
    outputs: TensorSpec = TensorSpec("pictures", (1, 256, 256)),  # noqa: B008 - frozen
    formats: Sequence[str] = FORMATS,
) -> SearchSpace:
    """Up to six residual blocks of up to 32 channels."""
    return edsr(
        "edsr",
        input_shape=input_shape,
        outputs=outputs,
        depths=(1, 2, 3, 4, 6),
        widths=(16, 24, 32),
        kernels=(1, 3),
        formats=formats,
    )
