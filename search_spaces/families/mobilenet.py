"""MobileNets: inverted residuals; in the third version's manner with squeeze-and-excite and hard-swish.

Elastic besides depth, width and format: kernel and expansion of each block.
Source: Sandler et al. 2018, arXiv:1801.04381, for the block; Howard et al. 2019, arXiv:1905.02244, section 5, for the third
version. Differs: squeeze-and-excite and hard-swish belong to stages, not to single blocks.
"""

from collections.abc import Mapping, Sequence

from search_spaces.families.builder import BlockBuilder
from search_spaces.families.heads import TEN_CLASSES
from search_spaces.families.stages import Stage, check_kernels, staged
from search_spaces.graph.node import Node
from search_spaces.graph.tensor import TensorSpec
from search_spaces.operators.elementwise import HardSigmoid, HardSwish, Multiply, Relu
from search_spaces.operators.pool import GlobalAveragePool
from search_spaces.precision.scheme import FORMATS
from search_spaces.space.choice import Option
from search_spaces.space.space import SPACES, SearchSpace

SQUEEZE = 4  # channels of a block over those of its squeeze


def mobilenet(
    name: str,
    *,
    input_shape: tuple[int, int, int],
    outputs: TensorSpec,
    stem_width: int,
    stem_stride: int = 1,
    stages: Sequence[Stage],
    kernels: tuple[int, ...] = (3, 5),
    expand_ratios: tuple[int, ...] = (2, 4),
    formats: Sequence[str] = FORMATS,
    resolutions: tuple[int, ...] = (),
) -> SearchSpace:
    """Build the space.

    Args:
        name: Name of the space, recorded with every subnet.
        input_shape: Channels, height and width of the images.
        outputs: What the head gives, such as `classes(10)`.
        stem_width: Channels of the first convolution.
        stem_stride: Its stride.
        stages: At least one.
        kernels: Kernel sizes to choose from, odd.
        expand_ratios: Ratios of the inner width to the input width of a block.
        formats: Number formats to choose from, see `QuantScheme.from_name`.
        resolutions: Heights that images are resized to, in their own proportions; none: they stay as they are.

    Raises:
        InvalidInputError: If there is no stage, an even kernel, or an unknown format.
    """
    check_kernels(kernels)
    return staged(
        name,
        inverted_residual,
        input_shape=input_shape,
        outputs=outputs,
        stem_width=stem_width,
        stem_stride=stem_stride,
        stages=stages,
        offered={"kernel": kernels, "expand_ratio": expand_ratios},
        formats=formats,
        resolutions=resolutions,
    )


def inverted_residual(block: BlockBuilder, stage: Stage, width: int, stride: int, own: Mapping[str, Option]) -> None:
    """Append expansion, depthwise convolution, gate, projection and shortcut."""
    inner = block.input.shape[0] * int(own["expand_ratio"])
    x: Node = block.apply(stage.activation, "relu1", block.conv("expand", block.input, inner))
    x = block.depthwise("depthwise", x, kernel=int(own["kernel"]), stride=stride)
    x = block.apply(stage.activation, "relu2", x)
    if stage.squeeze_excite:
        x = _gated(block, x)
    block.add_if_alike("add", block.input, block.conv("project", x, width))


def _gated(block: BlockBuilder, x: Node) -> Node:
    """Append squeeze-and-excite: channels weighed by what two layers make of their means."""
    channels = x.shape[0]
    means = block.apply(GlobalAveragePool, "squeeze/pool", x, shape=(channels, 1, 1))
    squeezed = block.conv("squeeze/reduce", means, max(1, channels // SQUEEZE), batch_norm=False)
    gate = block.conv("squeeze/expand", block.apply(Relu, "squeeze/relu", squeezed), channels, batch_norm=False)
    return block.apply(Multiply, "squeeze/multiply", x, block.apply(HardSigmoid, "squeeze/gate", gate))


def _three_quarters_and_all(height: int) -> tuple[int, ...]:
    """Return resolutions to choose from; of tiny images only their own."""
    return tuple(sorted({max(1, height * 3 // 4), height}))


@SPACES.register("mobilenet-digits")
def mobilenet_digits(
    input_shape: tuple[int, int, int] = (1, 8, 8), outputs: TensorSpec = TEN_CLASSES, formats: Sequence[str] = FORMATS
) -> SearchSpace:
    """Small images such as scikit-learn's digits."""
    stages = (
        Stage(depths=(1, 2), widths=(16, 24)),
        Stage(depths=(1, 2, 3), widths=(24, 40), stride=2),
        Stage(depths=(1, 2, 3), widths=(40, 64)),
    )
    return mobilenet(
        "mobilenet-digits", input_shape=input_shape, outputs=outputs, stem_width=16, stages=stages, formats=formats
    )


@SPACES.register("mobilenet-28")
def mobilenet_28(
    input_shape: tuple[int, int, int] = (1, 28, 28),
    outputs: TensorSpec = TEN_CLASSES,
    formats: Sequence[str] = ("float32", "w8a8", "w4a8", "w4a4"),
) -> SearchSpace:
    """Images of about 28x28 pixels such as Fashion-MNIST; the stem halves them."""
    stages = (
        Stage(depths=(1, 2, 3), widths=(16, 24, 32)),
        Stage(depths=(1, 2, 3), widths=(32, 48, 64), stride=2),
        Stage(depths=(1, 2, 3), widths=(64, 96, 128), stride=2),
    )
    return mobilenet(
        "mobilenet-28",
        input_shape=input_shape,
        outputs=outputs,
        stem_width=16,
        stem_stride=2,
        stages=stages,
        expand_ratios=(2, 3, 4),
        formats=formats,
    )


@SPACES.register("mobilenet-v3-28")
def mobilenet_v3_28(
    input_shape: tuple[int, int, int] = (1, 28, 28), outputs: TensorSpec = TEN_CLASSES, formats: Sequence[str] = FORMATS
) -> SearchSpace:
    """The third version's manner for images of about 28x28 pixels, seen at three quarters of their size or in full."""
    stages = (
        Stage(depths=(1, 2), widths=(16, 24)),
        Stage(depths=(1, 2, 3), widths=(24, 40), stride=2, squeeze_excite=True),
        Stage(depths=(1, 2, 3), widths=(48, 80), stride=2, activation=HardSwish, squeeze_excite=True),
    )
    return mobilenet(
        "mobilenet-v3-28",
        input_shape=input_shape,
        outputs=outputs,
        stem_width=16,
        stem_stride=2,
        stages=stages,
        kernels=(3, 5, 7),
        formats=formats,
        resolutions=_three_quarters_and_all(input_shape[1]),
    )


@SPACES.register("mobilenet-v3-digits")
def mobilenet_v3_digits(
    input_shape: tuple[int, int, int] = (1, 8, 8), outputs: TensorSpec = TEN_CLASSES, formats: Sequence[str] = FORMATS
) -> SearchSpace:
    """The third version's manner for small images."""
    stages = (
        Stage(depths=(1, 2), widths=(16, 24), squeeze_excite=True),
        Stage(depths=(1, 2), widths=(24, 40), stride=2, activation=HardSwish, squeeze_excite=True),
    )
    return mobilenet(
        "mobilenet-v3-digits",
        input_shape=input_shape,
        outputs=outputs,
        stem_width=16,
        stages=stages,
        kernels=(3, 7),
        formats=formats,
        resolutions=_three_quarters_and_all(input_shape[1]),
    )
