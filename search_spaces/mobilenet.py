"""MobileNet-V2 manner: a stem, stages of inverted residuals, a linear head.

Elastic: depth and width of each stage; kernel, expansion and number format of each block.
Source: Sandler et al. 2018, arXiv:1801.04381, for the block; Cai et al. 2020, arXiv:1908.09791, for what is elastic.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from search_spaces.choice import ActiveWhen, Choice, Option
from search_spaces.errors import InvalidInput
from search_spaces.graph import (
    FLOAT,
    W8A8,
    Add,
    Conv,
    GlobalAveragePool,
    Input,
    Linear,
    Node,
    Normalize,
    Output,
    Precision,
    Relu,
)
from search_spaces.space import SPACES, SearchSpace, Slot

FORMATS = ("float32", "w8a8", "w4a4")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Blocks of one width and resolution.

    Attributes:
        depths: Numbers of blocks to choose from.
        widths: Numbers of channels to choose from.
        stride: Stride of the first block.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    stride: int = 1


@dataclass(frozen=True)
class _Position:
    """Where a block stands: stage and block count from 1; the names of the choices follow from it."""

    stage: int
    block: int

    def choice(self, what: str) -> str:
        return f"stage{self.stage}/block{self.block}/{what}"

    @property
    def depth(self) -> str:
        return f"stage{self.stage}/depth"

    @property
    def width(self) -> str:
        return f"stage{self.stage}/width"


def mobilenet(
    name: str,
    *,
    input_shape: tuple[int, int, int],
    n_classes: int,
    stem_width: int,
    stem_stride: int = 1,
    stages: Sequence[Stage],
    kernels: tuple[int, ...] = (3, 5),
    expand_ratios: tuple[int, ...] = (2, 4),
    formats: tuple[str, ...] = FORMATS,
) -> SearchSpace:
    """Build the space.

    Args:
        name: Name of the space, recorded with every architecture.
        input_shape: Channels, height and width of the images.
        n_classes: Number of classes, at least 2.
        stem_width: Channels of the first convolution.
        stem_stride: Its stride.
        stages: At least one.
        kernels: Kernel sizes to choose from, odd.
        expand_ratios: Ratios of the inner width to the input width of a block.
        formats: `float32` or `wNaM`, see `Precision.from_name`.

    Raises:
        InvalidInput: If there is no stage, an even kernel, fewer than two classes, or an unknown format.
    """
    if not stages:
        raise InvalidInput("a mobilenet needs at least one stage, got none")
    if n_classes < 2:
        raise InvalidInput(f"n_classes must be at least 2, got {n_classes}")
    if even := [kernel for kernel in kernels if kernel % 2 == 0]:
        raise InvalidInput(f"kernels must be odd, got {even}")
    for format_name in formats:
        Precision.from_name(format_name)

    choices: list[Choice] = []
    conditions: dict[str, ActiveWhen] = {}
    image = Input(name="images", shape=input_shape)
    first_format = _Position(1, 1).choice("format")
    slots = [Slot("stem", (first_format,), partial(_stem, image, first_format, stem_width, stem_stride))]
    size = (_strided(input_shape[1], stem_stride), _strided(input_shape[2], stem_stride))
    for s, stage in enumerate(stages, start=1):
        choices.append(Choice(f"stage{s}/depth", stage.depths))
        choices.append(Choice(f"stage{s}/width", stage.widths))
        for b in range(1, max(stage.depths) + 1):
            at = _Position(s, b)
            before = f"stage{s - 1}/width" if b == 1 and s > 1 else None if b == 1 else at.width
            offered: dict[str, tuple[Option, ...]] = {"kernel": kernels, "expand_ratio": expand_ratios, "format": formats}
            deep_enough = tuple(depth for depth in stage.depths if depth >= b)
            for what, options in offered.items():
                choices.append(Choice(at.choice(what), options))
                if deep_enough != stage.depths:
                    conditions[at.choice(what)] = ActiveWhen(at.depth, deep_enough)
            reads = [at.depth, at.width, at.choice("kernel"), at.choice("expand_ratio"), at.choice("format")]
            if before is not None and before not in reads:
                reads.append(before)
            stride = stage.stride if b == 1 else 1
            build = partial(_inverted_residual, at, before, stem_width, size, stride)
            slots.append(Slot(f"stage{s}/block{b}", tuple(reads), build))
            size = (_strided(size[0], stride), _strided(size[1], stride))
    for b in stages[-1].depths:
        last = _Position(len(stages), b)
        reads = [last.depth, last.width, last.choice("format")]
        slots.append(Slot(f"head@{b}", tuple(reads), partial(_head, last, size, n_classes)))
    return SearchSpace(name, choices, slots, conditions)


def _strided(length: int, stride: int) -> int:
    return -(-length // stride)


def _end_precision(format_name: Option) -> Precision:
    """Stem and head are float32 exactly when the block beside them is, otherwise w8a8."""
    return FLOAT if format_name == "float32" else W8A8


def _stem(image: Input, format_choice: str, width: int, stride: int, values: Mapping[str, Option]) -> Sequence[Node]:
    precision = _end_precision(values[format_choice])
    channels, height, breadth = image.shape
    shape = (width, _strided(height, stride), _strided(breadth, stride))
    return (
        Input(name=image.name, shape=image.shape, precision=precision),
        Normalize(name="stem/normalize", inputs=(image.name,), shape=image.shape, precision=precision),
        Conv(
            name="stem/conv",
            inputs=("stem/normalize",),
            shape=shape,
            precision=precision,
            in_channels=channels,
            kernel=3,
            stride=stride,
        ),
        Relu(name="stem/relu", inputs=("stem/conv",), shape=shape, precision=precision),
    )


def _inverted_residual(
    at: _Position,
    width_before: str | None,
    stem_width: int,
    size: tuple[int, int],
    stride: int,
    values: Mapping[str, Option],
) -> Sequence[Node]:
    if int(values[at.depth]) < at.block:
        return ()
    precision = Precision.from_name(str(values[at.choice("format")]))
    width = int(values[at.width])
    in_width = stem_width if width_before is None else int(values[width_before])
    inner = in_width * int(values[at.choice("expand_ratio")])
    kernel = int(values[at.choice("kernel")])
    out_size = (_strided(size[0], stride), _strided(size[1], stride))

    prefix = f"stage{at.stage}/block{at.block}"
    names = {part: f"{prefix}/{part}" for part in ("input", "expand", "relu1", "depthwise", "relu2", "project", "add")}

    def conv(part: str, source: str, shape: tuple[int, ...], in_channels: int, **settings: int) -> Conv:
        return Conv(
            name=names[part],
            inputs=(names[source],),
            shape=shape,
            precision=precision,
            in_channels=in_channels,
            **settings,
        )

    def relu(part: str, source: Conv) -> Relu:
        return Relu(name=names[part], inputs=(source.name,), shape=source.shape, precision=precision)

    block_input = Input(name=names["input"], shape=(in_width, *size), precision=precision)
    expand = conv("expand", "input", (inner, *size), in_width, kernel=1)
    depthwise = conv("depthwise", "relu1", (inner, *out_size), inner, kernel=kernel, stride=stride, groups=inner)
    project = conv("project", "relu2", (width, *out_size), inner, kernel=1)
    nodes: list[Node] = [block_input, expand, relu("relu1", expand), depthwise, relu("relu2", depthwise), project]
    if block_input.shape == project.shape:
        sources = (block_input.name, project.name)
        nodes.append(Add(name=names["add"], inputs=sources, shape=project.shape, precision=precision))
    return nodes


def _head(last: _Position, size: tuple[int, int], n_classes: int, values: Mapping[str, Option]) -> Sequence[Node]:
    if values[last.depth] != last.block:
        return ()
    precision = _end_precision(values[last.choice("format")])
    width = int(values[last.width])
    return (
        Input(name="head/input", shape=(width, *size), precision=precision),
        GlobalAveragePool(name="head/pool", inputs=("head/input",), shape=(width, 1, 1), precision=precision),
        Linear(name="head/linear", inputs=("head/pool",), shape=(n_classes,), precision=precision, in_features=width),
        Output(name="logits", inputs=("head/linear",), shape=(n_classes,), precision=precision),
    )


@SPACES.register("mobilenet-digits")
def mobilenet_digits(input_shape: tuple[int, int, int] = (1, 8, 8), n_classes: int = 10) -> SearchSpace:
    """Small images such as scikit-learn's digits."""
    stages = (
        Stage(depths=(1, 2), widths=(16, 24)),
        Stage(depths=(1, 2, 3), widths=(24, 40), stride=2),
        Stage(depths=(1, 2, 3), widths=(40, 64)),
    )
    return mobilenet("mobilenet-digits", input_shape=input_shape, n_classes=n_classes, stem_width=16, stages=stages)


@SPACES.register("mobilenet-28")
def mobilenet_28(input_shape: tuple[int, int, int] = (1, 28, 28), n_classes: int = 10) -> SearchSpace:
    """Images of about 28x28 pixels such as Fashion-MNIST; the stem halves them."""
    stages = (
        Stage(depths=(1, 2, 3), widths=(16, 24, 32)),
        Stage(depths=(1, 2, 3), widths=(32, 48, 64), stride=2),
        Stage(depths=(1, 2, 3), widths=(64, 96, 128), stride=2),
    )
    return mobilenet(
        "mobilenet-28",
        input_shape=input_shape,
        n_classes=n_classes,
        stem_width=16,
        stem_stride=2,
        stages=stages,
        expand_ratios=(2, 3, 4),
        formats=("float32", "w8a8", "w4a8", "w4a4"),
    )
