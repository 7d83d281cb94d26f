"""Granularity: which elements of a tensor share a scale."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PerTensor:
    """One scale for all: of a weight `(out, in)` the scale has shape `()`."""


@dataclass(frozen=True)
class PerAxis:
    """A scale for each index of the first axis: of a weight `(out, in)` or `(out, in, kh, kw)` it has shape `(out,)`."""


@dataclass(frozen=True)
class PerGroup:
    """A scale for each row and each `size` elements of it, from its beginning: of a weight `(out, in)` `(out, in / size)`.

    Since groups begin at the first element, the first `k` of a row have the same integers and scales whatever follows them.

    Attributes:
        size: Divides the length of a row.
    """

    size: int


Granularity = PerTensor | PerAxis | PerGroup
