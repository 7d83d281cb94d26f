"""Signature: what decides how long some nodes take, as one line of text; and all that they are, as another."""

from collections.abc import Sequence
from dataclasses import fields

from search_spaces.graph.node import COMMON, Node, default_of
from search_spaces.precision.formats import NumberFormat


def describe(nodes: Sequence[Node]) -> str:
    """Return everything that nodes are as one line of text, fields that are at their default left out.

    So a new field of an operator changes no text, and no digest made of it, until somebody sets it.
    """
    lines = []
    for node in nodes:
        own = [f for f in fields(node) if f.name not in COMMON and getattr(node, f.name) != default_of(f)]
        settings = " ".join(f"{f.name}={_plain(getattr(node, f.name))}" for f in own)
        words = (node.op, node.name, *node.inputs, *map(str, node.shape), node.precision.name, settings)
        lines.append(" ".join(words))
    return " | ".join(lines)


def signature(nodes: Sequence[Node]) -> str:
    """Return what decides how long the nodes take: operators, shapes and lowered types, no names.

    Formats that lower alike share one signature: 4-bit weights lie in int8 containers and take as long as 8-bit ones.

    Returns:
        One line such as `input 16x8x8 | conv 32x8x8 k1 s1 g1 int8 (0) | ...`; numbers in brackets are inputs.
    """
    index = {node.name: str(i) for i, node in enumerate(nodes)}
    lines = []
    for node in nodes:
        words = [node.op, "x".join(map(str, node.shape)), *node.timed_words()]
        if node.inputs:
            words.append(f"({' '.join(index[name] for name in node.inputs)})")
        lines.append(" ".join(words))
    return " | ".join(lines)


def _plain(value: object) -> object:
    """Return the name of a number format, anything else as it is."""
    return value.name if isinstance(value, NumberFormat) else value
