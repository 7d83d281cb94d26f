"""ResNets: basic and bottleneck blocks, a ReLU behind every addition.

Elastic besides depth, width and format: the kernel of basic blocks, the inner width of bottlenecks.
Source: He et al. 2016, arXiv:1512.03385, section 3.3; the bottleneck strides in its 3x3 convolution.
"""

from collections.abc import Mapping, Sequence

from search_spaces.errors import InvalidInputError
from search_spaces.families.builder import BlockBuilder
from search_spaces.families.heads import TEN_CLASSES
from search_spaces.families.stages import Stage, check_kernels, staged
from search_spaces.graph.node import Node
from search_spaces.graph.tensor import TensorSpec
from search_spaces.operators.elementwise import Add, Relu
from search_spaces.precision.scheme import FORMATS
from search_spaces.space.choice import Option
from search_spaces.space.space import SPACES, SearchSpace


def basic(block: BlockBuilder, stage: Stage, width: int, stride: int, own: Mapping[str, Option]) -> None:
    """Append two convolutions and the shortcut."""
    kernel = int(own["kernel"])
    x = block.apply(stage.activation, "relu1", block.conv("conv1", block.input, width, kernel=kernel, stride=stride))
    _add_shortcut(block, block.conv("conv2", x, width, kernel=kernel), stride)


def bottleneck(block: BlockBuilder, stage: Stage, width: int, stride: int, own: Mapping[str, Option]) -> None:
    """Append reduction, 3x3 convolution, expansion and the shortcut."""
    inner = int(width * float(own["inner_ratio"]))
    x: Node = block.apply(stage.activation, "relu1", block.conv("reduce", block.input, inner))
    x = block.apply(stage.activation, "relu2", block.conv("conv", x, inner, kernel=3, stride=stride))
    _add_shortcut(block, block.conv("expand", x, width), stride)


def _add_shortcut(block: BlockBuilder, x: Node, stride: int) -> None:
    """Append the sum with the input, brought to the same shape by a 1x1 convolution where it differs, and a ReLU."""
    shortcut: Node = block.input
    if shortcut.shape != x.shape:
        shortcut = block.conv("shortcut", block.input, x.shape[0], stride=stride)
    block.apply(Relu, "relu", block.apply(Add, "add", shortcut, x))


def resnet(
    name: str,
    *,
    input_shape: tuple[int, int, int],
    outputs: TensorSpec,
    stem_width: int,
    stem_stride: int = 1,
    stages: Sequence[Stage],
    kernels: tuple[int, ...] = (),
    inner_ratios: tuple[float, ...] = (),
    formats: Sequence[str] = FORMATS,
    resolutions: tuple[int, ...] = (),
) -> SearchSpace:
    """Build the space, of basic blocks or of bottlenecks.

    Args:
        name: Name of the space, recorded with every subnet.
        input_shape: Channels, height and width of the images.
        outputs: What the head gives, such as `classes(10)`.
        stem_width: Channels of the first convolution.
        stem_stride: Its stride.
        stages: At least one.
        kernels: Kernel sizes of basic blocks to choose from, odd.
        inner_ratios: Ratios of the inner width of bottlenecks to their outer one.
        formats: Number formats to choose from, see `QuantScheme.from_name`.
        resolutions: Heights that images are resized to, in their own proportions; none: they stay as they are.

    Raises:
        InvalidInputError: If both or neither of kernels and ratios are given, a kernel is even, there is no stage, there are
            fewer than two classes, or a format is unknown.
    """
    if bool(kernels) == bool(inner_ratios):
        raise InvalidInputError("a resnet takes either kernels, of basic blocks, or inner_ratios, of bottlenecks")
    check_kernels(kernels)
    return staged(
        name,
        basic if kernels else bottleneck,
        input_shape=input_shape,
        outputs=outputs,
        stem_width=stem_width,
        stem_stride=stem_stride,
        stages=stages,
        offered={"kernel": kernels} if kernels else {"inner_ratio": inner_ratios},
        formats=formats,
        resolutions=resolutions,
    )


@SPACES.register("resnet-digits")
def resnet_digits(
    input_shape: tuple[int, int, int] = (1, 8, 8), outputs: TensorSpec = TEN_CLASSES, formats: Sequence[str] = FORMATS
) -> SearchSpace:
    """Basic blocks for small images."""
    return resnet(
        "resnet-digits",
        input_shape=input_shape,
        outputs=outputs,
        stem_width=16,
        stages=(Stage(depths=(1, 2), widths=(16, 24)), Stage(depths=(1, 2), widths=(24, 40), stride=2)),
        kernels=(3, 5),
        formats=formats,
    )


@SPACES.register("resnet-bottleneck-28")
def resnet_bottleneck_28(
    input_shape: tuple[int, int, int] = (1, 28, 28), outputs: TensorSpec = TEN_CLASSES, formats: Sequence[str] = FORMATS
) -> SearchSpace:
    """Bottlenecks for images of about 28x28 pixels; the stem halves them."""
    return resnet(
        "resnet-bottleneck-28",
        input_shape=input_shape,
        outputs=outputs,
        stem_width=32,
        stem_stride=2,
        stages=(
            Stage(depths=(1, 2, 3), widths=(48, 64)),
            Stage(depths=(1, 2, 3), widths=(96, 128), stride=2),
            Stage(depths=(1, 2, 3), widths=(160, 256), stride=2),
        ),
        inner_ratios=(0.25, 0.5),
        formats=formats,
    )
