"""A layer of a trained network with what it meets on samples, and what rounding makes of it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_spaces.graph.node import Node
from search_spaces.operators.conv import Conv

Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]
N_ROWS = 2048  # of what a layer meets; correlations of inputs are made of them


@dataclass(frozen=True)
class Layer:
    """A layer and its inputs, group by group; a fully connected layer is one group.

    Attributes:
        node: The operator.
        weight: Shape `(groups, out / groups, d)`: each output is a product with d inputs.
        bias: Shape `(out,)`.
        rows: Inputs at places drawn at random, shape `(n, groups, d)`.
        mean: Their mean over all places, shape `(groups, d)`.
    """

    node: Node
    weight: Doubles
    bias: Doubles
    rows: Floats
    mean: Doubles


@dataclass(frozen=True)
class Rounded:
    """A layer in integers.

    Attributes:
        integers: Shape as `Layer.weight`, whole numbers.
        scale: Of each output, shape `(out,)`.
        bias: In real numbers, shape `(out,)`.
    """

    integers: Doubles
    scale: Doubles
    bias: Doubles

    def weight(self) -> Doubles:
        """Return the weights that it stands for, shape `(groups, out / groups, d)`."""
        return self.integers * self.scale.reshape(*self.integers.shape[:2], 1)


def grouped(node: Node, weight: NDArray[np.float32]) -> Doubles:
    """Return a weight as `Layer.weight` has it."""
    groups = node.groups if isinstance(node, Conv) else 1
    return weight.astype(np.float64).reshape(groups, len(weight) // groups, -1)


def drawn_inputs(node: Node, x: Floats, n: int, rng: np.random.Generator) -> Floats:
    """Return what a layer multiplies with at places drawn at random, shape `(n, groups, d)`.

    Args:
        node: A convolution, or a fully connected layer.
        x: What it takes for one sample, batch axis included.
        n: Places to draw, at most.
        rng: Draws them.
    """
    if isinstance(node, Conv):
        windows = node.windows(x)[0]
        _, height, width = windows.shape[:3]
        rows, columns = rng.integers(0, height, n), rng.integers(0, width, n)
        drawn = np.moveaxis(windows[:, rows, columns], 1, 0).reshape(n, node.groups, -1)
    else:
        flat = x.reshape(-1, node.spec_of["weight"].shape[1])
        drawn = flat[rng.integers(0, len(flat), min(n, 4 * len(flat)))][:, None]
    return np.asarray(drawn, np.float32)


def mean_input(node: Node, x: Floats) -> Doubles:
    """Return the mean of what a layer multiplies with over all places of one sample, shape `(groups, d)`."""
    if not isinstance(node, Conv):
        return np.asarray(x.reshape(-1, node.spec_of["weight"].shape[1]).mean(axis=0, dtype=np.float64)[None])
    windows = node.windows(x)[0]
    height, width = windows.shape[3:]
    means = [windows[..., i, j].mean(axis=(1, 2)) for i in range(height) for j in range(width)]
    return np.asarray(np.stack(means, axis=1).reshape(node.groups, -1), np.float64)
