"""Operators, a family a file; importing this package registers them."""

from search_spaces.graph.node import OPERATORS
from search_spaces.operators import (  # noqa: F401 - each registers its operators
    attention,
    causal_attention,
    conv,
    elementwise,
    embedding,
    ends,
    linear,
    movement,
    norm,
    opaque,
    pool,
    project,
    quantize,
    resize,
)

__all__ = ["OPERATORS"]
