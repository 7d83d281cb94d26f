"""The torch readings of operators: what each does to tensors, and its source in an exported module.

Tensors of operators are asked of a `ParameterSource`: shared and trained, being calibrated, or deployed and fixed.
"""

from functools import singledispatch
from typing import Protocol

from torch import Tensor

from search_spaces.graph.node import Node
from search_spaces.operators.conv import Conv
from search_spaces.operators.norm import Normalize
from search_spaces.operators.quantize import Quantize


class ParameterSource(Protocol):
    """Gives what operators compute with, as floats that are rounded as their block's format says."""

    def normalize(self, node: Normalize, x: Tensor) -> Tensor:
        """Return `(x - mean) / std`."""

    def conv(self, node: Conv, x: Tensor) -> Tensor:
        """Return convolution of `x` with what follows it: batch norm, or a bias."""

    def tensors(self, node: Node) -> tuple[Tensor, ...]:
        """Return the weight of an operator and, if it has one, its bias."""

    def quantize(self, node: Quantize, x: Tensor) -> Tensor:
        """Return `x` fake-quantized."""


@singledispatch
def apply_operator(node: Node, inputs: list[Tensor], source: ParameterSource) -> Tensor:
    """Compute one operator."""
    raise TypeError(f"no torch reading of {type(node).__name__}")


@singledispatch
def torch_source(node: Node) -> str:
    """Return the Python expression of a node's tensor in an exported module: `t` holds tensors, `w` and `s` parameters."""
    raise TypeError(f"no torch source for {type(node).__name__}")


def input_sources(node: Node) -> list[str]:
    """Return the expressions of what a node takes."""
    return [f"t[{name!r}]" for name in node.inputs]


def own_source(node: Node, role: str, owner: str = "") -> str:
    """Return the expression of one of a node's own tensors; `owner` names the node that holds a tied one."""
    kept = "w" if role in ("weight", "bias") else "s"
    return f"{kept}[{parameter_key(f'{owner or node.name}/{role}')!r}]"


def parameter_key(name: str) -> str:
    """Return a name that a `ParameterDict` takes, another one for each name."""
    return name.replace("_", "__").replace(".", "_dot_")
