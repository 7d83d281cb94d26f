"""Convolutions."""

from dataclasses import dataclass

from search_spaces.graph.node import Node


@dataclass(frozen=True, kw_only=True)
class Conv(Node):
    """A convolution with `same` padding and a batch norm behind it, which becomes scale and bias once trained.

    Attributes:
        in_channels: Channels taken.
        kernel: Height and width of the kernel, odd.
        stride: Step in both directions.
        groups: 1, or `in_channels` for a depthwise convolution.
        batch_norm: False: only a bias behind it.
    """

    in_channels: int
    kernel: int
    stride: int = 1
    groups: int = 1
    batch_norm: bool = True

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """`(out, in / groups, kernel, kernel)`."""
        return (self.shape[0], self.in_channels // self.groups, self.kernel, self.kernel)
