"""Convolutions."""

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


@operator("conv")
@dataclass(frozen=True, kw_only=True)
class Conv(Node):
    """A convolution with `same` padding and a batch norm behind it, which becomes scale and bias once trained.

    Attributes:
        in_channels: Channels taken.
        kernel: Height and width of the kernel, odd.
        stride: Step in both directions.
        groups: 1, or `in_channels` for a depthwise convolution.
        batch_norm: False: only a bias behind it.
        zero_init: True if training begins with weights of 0, so that a sum begins with its other part.
    """

    in_channels: int = untimed()
    kernel: int = labelled("k")
    stride: int = labelled("s", 1)
    groups: int = labelled("g", 1)
    batch_norm: bool = untimed(default=True)
    zero_init: bool = untimed(default=False)

    has_integer_kernel = True

    def weights(self) -> tuple[WeightSpec, ...]:
        """Weight `(out, in / groups, kernel, kernel)`, bias (that of the batch norm, if there is one) and its gamma."""
        shape = (self.shape[0], self.in_channels // self.groups, self.kernel, self.kernel)
        init = "zeros" if self.zero_init else "normal"
        weight = WeightSpec("weight", shape, ("out", "in", "kernel", "kernel"), quantized=True, init=init)
        gamma = WeightSpec("gamma", self.shape[:1], ("out",), init="ones", folded=True)
        return (weight, WeightSpec("bias", self.shape[:1], ("out",)), *([gamma] if self.batch_norm else []))

    def macs(self) -> float:
        """See `Node`."""
        return n_elements(self) * (self.in_channels // self.groups) * self.kernel**2

    def emit(self, writer: "Writer") -> None:
        """`same` padding as torch pads: kernel // 2 on every side, which onnx calls explicit pads."""
        writer.operator(
            "Conv",
            [self.inputs[0], *writer.weight_and_bias(self)],
            self.name,
            kernel_shape=[self.kernel] * 2,
            strides=[self.stride] * 2,
            pads=[self.kernel // 2] * 4,
            group=self.groups,
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
        margin = self.kernel // 2
        padded = np.pad(x.astype(np.float64), [(0, 0), (0, 0), (margin, margin), (margin, margin)])
        windows = sliding_window_view(padded, (self.kernel, self.kernel), axis=(2, 3))[:, :, :: self.stride, :: self.stride]
        n, channels, height, width = windows.shape[:4]
        grouped = windows.reshape(n, self.groups, channels // self.groups, height, width, self.kernel, self.kernel)
        filters = weight.reshape(self.groups, -1, *weight.shape[1:])
        sums = np.einsum("ngchwkl,gockl->ngohw", grouped, filters, optimize=True)
        result: Doubles = sums.reshape(n, -1, height, width) + bias[:, None, None]
        return result

    @classmethod
    def examples(cls) -> tuple[tuple[Node, ...], ...]:
        """See `Node`."""
        x = Input(name="x", shape=(4, 5, 6))
        plain = {"kernel": 3, "batch_norm": False}
        settings: tuple[dict[str, Any], ...] = ({"kernel": 1}, {"kernel": 3, "stride": 2}, {"kernel": 5, "groups": 4}, plain)
        shapes = ((6, 5, 6), (6, 3, 3), (4, 5, 6), (2, 5, 6))
        return tuple(
            (x, cls(name="y", inputs=("x",), shape=shape, in_channels=4, **chosen))
            for shape, chosen in zip(shapes, settings, strict=True)
        )
