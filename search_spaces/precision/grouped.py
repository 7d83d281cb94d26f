"""Weights in groups as kernels hold them, and what kernels do to activations at run time.

Source: MatMulNBits of onnxruntime (docs/ContribOperators.md) and its kernels in MLAS, `sqnbitgemm`; measured, see
docs/decisions/0018-schemes-and-phases.md.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]


def pack_codes(codes: NDArray[Any], bits: int, group: int) -> NDArray[np.uint8]:
    """Return integers as unsigned codes, low bits first, around the middle of their range.

    Args:
        codes: Shape `(out, in)`, from `-2**(bits - 1)` up.
        bits: 2, 4 or 8.
        group: Elements that share a scale.

    Returns:
        Shape `(out, in / group, group * bits / 8)`.
    """
    unsigned = (codes.astype(np.int16) + (1 << (bits - 1))).astype(np.uint8)
    per_byte = 8 // bits
    parts = unsigned.reshape(len(codes), -1, group // per_byte, per_byte)
    packed = np.zeros(parts.shape[:-1], np.uint8)
    for i in range(per_byte):
        packed |= parts[..., i] << (bits * i)
    return packed


def unpack_codes(packed: NDArray[np.uint8], bits: int, shape: Sequence[int]) -> NDArray[np.int8]:
    """Return the integers of `pack_codes`, shape `(out, in)`."""
    mask = (1 << bits) - 1
    parts = np.stack([(packed >> (bits * i)) & mask for i in range(8 // bits)], axis=-1)
    return (parts.reshape(tuple(shape)).astype(np.int16) - (1 << (bits - 1))).astype(np.int8)


def dequantize_groups(codes: NDArray[Any], scale: NDArray[Any]) -> Doubles:
    """Return integers times scales.

    Args:
        codes: Shape `(out, in)`.
        scale: Shape `(out, in / group)`.
    """
    groups = codes.reshape(*scale.shape, -1).astype(np.float64) * scale.astype(np.float64)[..., None]
    return groups.reshape(codes.shape)


def round_rows(x: Floats, group: int) -> Floats:
    """Return activations rounded to 8 bits, a scale for each row and group: what kernels do at run time.

    Args:
        x: Shape `(..., in)`.
        group: Divides `in`.
    """
    groups = x.reshape(*x.shape[:-1], -1, group)
    greatest = np.abs(groups).max(axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        integers = np.where(greatest > 0, np.rint(groups * (np.float32(127) / greatest)), 0)
    rounded: Floats = (integers * (greatest / np.float32(127))).astype(np.float32)
    return rounded.reshape(x.shape)
