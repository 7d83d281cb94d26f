"""Torch readings of operators, a family a file; importing this package registers them."""

from nas.supernet.ops import (  # noqa: F401 - each registers its readings
    attention,
    conv,
    elementwise,
    embedding,
    ends,
    linear,
    movement,
    norm,
    pool,
    quantize,
    resize,
    tokens,
)
from nas.supernet.ops.reading import ParameterSource, apply_operator, torch_source

__all__ = ["ParameterSource", "apply_operator", "torch_source"]
