"""Signature: what decides how long some nodes take, as one line of text."""

from collections.abc import Sequence
from dataclasses import fields

from search_spaces.graph.node import Node
from search_spaces.operators.conv import Conv
from search_spaces.operators.linear import Linear
from search_spaces.operators.quantize import Quantize
from search_spaces.precision.formats import NumberFormat

COMMON = {field.name for field in fields(Node)}


def describe(nodes: Sequence[Node]) -> str:
    """Return everything that nodes are as one line of text, fields that are at their default left out.

    So a new field of an operator changes no text, and no digest made of it, until somebody sets it.
    """
    lines = []
    for node in nodes:
        own = [field for field in fields(node) if field.name not in COMMON and getattr(node, field.name) != field.default]
        settings = " ".join(f"{field.name}={_plain(getattr(node, field.name))}" for field in own)
        words = (type(node).__name__.lower(), node.name, *node.inputs, *map(str, node.shape), node.precision.name, settings)
        lines.append(" ".join(words))
    return " | ".join(lines)


def _plain(value: object) -> object:
    """Return the name of a number format, anything else as it is."""
    return value.name if isinstance(value, NumberFormat) else value


def signature(nodes: Sequence[Node]) -> str:
    """Return what decides how long the nodes take: operators, shapes and lowered types, no names.

    Formats that lower alike share one signature: 4-bit weights lie in int8 containers and take as long as 8-bit ones.

    Returns:
        One line such as `input 16x8x8 | conv 32x8x8 k1 s1 g1 int8 (0) | ...`; numbers in brackets are inputs.
    """
    index = {node.name: str(i) for i, node in enumerate(nodes)}
    lines = []
    for node in nodes:
        words = [type(node).__name__.lower(), "x".join(map(str, node.shape))]
        if isinstance(node, Conv):
            words.append(f"k{node.kernel} s{node.stride} g{node.groups}")
        if isinstance(node, Conv | Linear):
            words.append(node.precision.weights.name if not node.precision.is_integer else "int8")
            words += [] if node.precision.per_channel else ["tensor"]
        if isinstance(node, Quantize) and node.format.is_minifloat:
            words.append(node.format.name)
        elif isinstance(node, Quantize):
            words.append(f"uint8 zero {'free' if node.format.asymmetric else node.format.zero_point}")
            words += ["clip"] if node.format.bits < 8 else []
        if node.inputs:
            words.append(f"({' '.join(index[name] for name in node.inputs)})")
        lines.append(" ".join(words))
    return " | ".join(lines)
