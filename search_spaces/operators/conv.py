"""Convolutions, and the windows that they and pooling share."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from search_spaces.graph.node import (
    Doubles,
    Floats,
    Node,
    Quantized,
    Weights,
    WeightSpec,
    labelled,
    n_elements,
    operator,
    untimed,
)
from search_spaces.operators.ends import Input

if TYPE_CHECKING:
    from search_spaces.lowering import Writer


Pair = tuple[int, int]
Pads = tuple[int, ...]


def pair(value: int | Pair) -> Pair:
    """Return height and width of what is one number where both are alike."""
    return (value, value) if isinstance(value, int) else value


@operator("conv")
@dataclass(frozen=True, kw_only=True)
class Conv(Node):
    """A convolution, perhaps with a batch norm behind it, which becomes scale and bias once trained.

    Attributes:
        in_channels: Channels taken.
        kernel: Height and width of the kernel: one number, or both. Odd, unless `pads` are given.
        stride: Step in both directions: one number, or both.
        groups: 1; `in_channels` for a depthwise convolution; or what divides both numbers of channels.
        batch_norm: False: only a bias behind it.
        zero_init: True if training begins with weights of 0, so that a sum begins with its other part.
        pads: Zeros at the top, the left, below and at the right; empty: half of the kernel on every side (`same`).
        dilation: Step between two elements of the kernel.
    """

    in_channels: int = untimed()
    kernel: int | Pair = labelled("k")  # noqa: RUF009 - a field
    stride: int | Pair = labelled("s", 1)  # noqa: RUF009 - a field
    groups: int = labelled("g", 1)
    batch_norm: bool = untimed(default=True)
    zero_init: bool = untimed(default=False)
    pads: Pads = ()
    dilation: int = 1

    has_integer_kernel = True

    @property
    def padding(self) -> Pads:
        """Zeros at the top, the left, below and at the right."""
        height, width = (length // 2 for length in pair(self.kernel))
        return self.pads or (height, width, height, width)

    def weights(self) -> tuple[WeightSpec, ...]:
        """Weight `(out, in / groups, kernel, kernel)`, bias (that of the batch norm, if there is one) and its gamma."""
        shape = (self.shape[0], self.in_channels // self.groups, *pair(self.kernel))
        init = "zeros" if self.zero_init else "normal"
        weight = WeightSpec("weight", shape, ("out", "in", "kernel", "kernel"), quantized=True, init=init)
        gamma = WeightSpec("gamma", self.shape[:1], ("out",), init="ones", folded=True)
        return (weight, WeightSpec("bias", self.shape[:1], ("out",)), *([gamma] if self.batch_norm else []))

    def macs(self) -> float:
        """See `Node`."""
        return n_elements(self) * (self.in_channels // self.groups) * math.prod(pair(self.kernel))

    def emit(self, writer: "Writer") -> None:
        """See `Node`; all padding is explicit."""
        dilations = {"dilations": [self.dilation] * 2} if self.dilation > 1 else {}
        writer.operator(
            "Conv",
            [self.inputs[0], *writer.weight_and_bias(self)],
            self.name,
            kernel_shape=list(pair(self.kernel)),
            strides=list(pair(self.stride)),
            pads=list(self.padding),
            group=self.groups,
            **dilations,
        )

    def compute(self, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
        """See `Node`."""
        return self._sums(inputs[0], weights)

    def compute_integers(self, inputs: Sequence[Quantized], output: Quantized | None, weights: Weights) -> Floats:
        """See `Node`; a ReLU behind it is part of the saturation at 0."""
        scale_out = np.float32(output.scale) if output else np.float32(1)
        multiplier = (np.float32(inputs[0].scale) * weights[f"{self.name}/weight_scale"].astype(np.float32)) / scale_out
        return self._sums(inputs[0].integers, weights).astype(np.float32) * multiplier[:, None, None]

    def _sums(self, x: NDArray[Any], weights: Weights) -> Doubles:
        """Return the sums with the bias, shape `(n, out, height, width)`; exact on integers around zero."""
        weight, bias = (weights[f"{self.name}/{role}"].astype(np.float64) for role in ("weight", "bias"))
        windows = self.windows(x.astype(np.float64))
        n, channels, height, width, *kernel = windows.shape
        grouped = windows.reshape(n, self.groups, channels // self.groups, height, width, *kernel)
        filters = weight.reshape(self.groups, -1, *weight.shape[1:])
        sums = np.einsum("ngchwkl,gockl->ngohw", grouped, filters, optimize=True)
        result: Doubles = sums.reshape(n, -1, height, width) + bias[:, None, None]
        return result

    def windows(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return what each output pixel is computed from, shape `(n, in_channels, height, width, *kernel)`."""
        return windows_of(x, pair(self.kernel), pair(self.stride), self.padding, self.dilation)

    @classmethod
    def examples(cls) -> tuple[tuple[Node, ...], ...]:
        """See `Node`."""
        x = Input(name="x", shape=(4, 5, 6))
        plain = {"kernel": 3, "batch_norm": False}
        settings: tuple[dict[str, Any], ...] = (
            {"kernel": 1},
            {"kernel": 3, "stride": 2},
            {"kernel": 5, "groups": 4},
            plain,
            {"kernel": (1, 3), "stride": (2, 1), "groups": 2},
            {"kernel": 3, "pads": (0, 0, 1, 1), "stride": 2},
            {"kernel": 3, "dilation": 2, "pads": (2, 2, 2, 2)},
        )
        shapes = ((6, 5, 6), (6, 3, 3), (4, 5, 6), (2, 5, 6), (6, 3, 6), (2, 2, 3), (2, 5, 6))
        return tuple(
            (x, cls(name="y", inputs=("x",), shape=shape, in_channels=4, **chosen))
            for shape, chosen in zip(shapes, settings, strict=True)
        )


def windows_of(
    x: NDArray[Any], kernel: Pair, stride: Pair, pads: Pads, dilation: int = 1, value: float = 0.0
) -> NDArray[Any]:
    """Return the windows that a kernel meets, shape `(n, channels, height, width, *kernel)`.

    Args:
        x: Shape `(n, channels, height, width)`.
        kernel: Height and width.
        stride: Step in each direction.
        pads: What is added at the top, the left, below and at the right.
        dilation: Step between two elements of the kernel.
        value: What is added.
    """
    top, left, bottom, right = pads
    padded = np.pad(x, [(0, 0), (0, 0), (top, bottom), (left, right)], constant_values=value)
    reach = tuple(dilation * (length - 1) + 1 for length in kernel)
    windows: NDArray[Any] = sliding_window_view(padded, reach, axis=(2, 3))
    return windows[:, :, :: stride[0], :: stride[1], ::dilation, ::dilation]
