"""Node: one operator of a network and the tensor that it gives."""

import math
from dataclasses import dataclass

from search_spaces.precision.formats import FLOAT, Precision


@dataclass(frozen=True, kw_only=True)
class Node:
    """One operator and the tensor it gives.

    Attributes:
        name: Unique within the network, levels separated by `/`; names its output tensor and its shared weights.
        inputs: Names of the nodes it takes.
        shape: Shape of its output without the batch axis.
        precision: What the block it belongs to computes in.
    """

    name: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    precision: Precision = FLOAT


def n_elements(node: Node) -> int:
    """Return the number of elements of the node's output for one image."""
    return math.prod(node.shape)
