"""What a network is made of, as far as time goes: its blocks by signature, and the borders between number formats.

A network's latency is a line over six sums, fitted on whole networks: the isolated times of its float32 and of its integer
blocks, how many there are of each, and the times of its borders from float32 to 8 bits and back.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_spaces.graph import FLOAT32, Graph, Input, Node, NumberFormat, Output, Quantize, Relu, signature
from search_spaces.quantization import place_quantizers
from search_spaces.space import Block, SearchSpace

FEATURES = ("float_ms", "integer_ms", "float_blocks", "integer_blocks", "to_integer_ms", "to_float_ms")
N_FEATURES = len(FEATURES)


@dataclass(frozen=True)
class Parts:
    """Times of the parts of networks in milliseconds, each measured on its own.

    Attributes:
        blocks: By signature of the block with its own quantizers.
        borders: By shape of the tensor: one quantization with one dequantization.
        call: An empty network: what a call costs by itself.
    """

    blocks: Mapping[str, float]
    borders: Mapping[tuple[int, ...], float]
    call: float


def isolated(block: Block) -> tuple[Node, ...]:
    """Return a block as it is measured: with float32 input, so that an integer block converts it itself."""
    return place_quantizers(block, FLOAT32)


def block_key(block: Block) -> str:
    """Return the signature under which a block stands in a table."""
    return signature(isolated(block))


def border_graph(shape: tuple[int, ...]) -> Graph:
    """Return a network that does nothing but quantize and dequantize a tensor."""
    return Graph((Input(name="x", shape=shape), Quantize(name="y", inputs=("x",), shape=shape)))


def empty_graph() -> Graph:
    """Return a network that does next to nothing."""
    return Graph((Input(name="x", shape=(1, 1, 1)), Relu(name="y", inputs=("x",), shape=(1, 1, 1))))


def border_shapes(space: SearchSpace) -> list[tuple[int, ...]]:
    """Return the shapes of all tensors that pass between blocks, ascending."""
    first_inputs = {block[0].shape for block in space.blocks[0].values.flat if block}
    inputs = {block[0].shape for block in space.distinct_blocks() if block[0].shape not in first_inputs}
    return sorted(inputs)


def features(parts: Parts, source: NumberFormat, block: Block) -> NDArray[np.float64]:
    """Return what a block adds to the six sums, shape `(6,)`.

    Args:
        parts: Measured times.
        source: Format in which the block's input arrives.
        block: Without quantizers.
    """
    is_float = block[0].precision.is_float
    ms = parts.blocks[block_key(block)] - parts.call
    converts_input = isinstance(isolated(block)[1], Quantize)
    if converts_input:
        ms -= _border_ms(parts, block[0].shape) / 2
    if not is_float and not isinstance(block[-1], Output):
        ms -= _border_ms(parts, block[-1].shape) / 2
    to_integer = _border_ms(parts, block[0].shape) if source.is_float and converts_input else 0.0
    to_float = _border_ms(parts, block[0].shape) if is_float and not source.is_float else 0.0
    if is_float:
        return np.array([ms, 0.0, 1.0, 0.0, to_integer, to_float])
    return np.array([0.0, ms, 0.0, 1.0, to_integer, to_float])


def graph_features(parts: Parts, graph: Graph) -> NDArray[np.float64]:
    """Return the six sums of a whole network, shape `(6,)`."""
    total: NDArray[np.float64] = np.sum([features(parts, source, block) for source, block in graph.arrivals], axis=0)
    return total


def prior(parts: Parts) -> NDArray[np.float64]:
    """Return constant and coefficients before any whole network was measured, shape `(7,)`.

    A network costs one call and the sum of its parts; quantizing and dequantizing share a border's time evenly.
    """
    return np.array([parts.call, 1.0, 1.0, 0.0, 0.0, 0.5, 0.5])


def fit(parts: Parts, graphs: Sequence[Graph], measured_ms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fit constant and coefficients on whole networks.

    Least squares of the relative error, drawn towards the prior by a ridge whose strength is that of half a network.

    Args:
        parts: Times of the parts.
        graphs: Whole networks.
        measured_ms: Their times, shape `(n,)`.

    Returns:
        Shape `(7,)`.
    """
    rows = np.array([[1.0, *graph_features(parts, graph)] for graph in graphs]) / measured_ms[:, None]
    start = prior(parts)
    size = np.sqrt((rows**2).mean(axis=0))
    residual = 1.0 - rows @ start
    ridge = np.diag(np.sqrt(RIDGE) * size)
    change, *_ = np.linalg.lstsq(np.vstack([rows, ridge]), np.concatenate([residual, np.zeros(len(start))]), rcond=None)
    fitted: NDArray[np.float64] = start + change
    return fitted


RIDGE = 0.5


def _border_ms(parts: Parts, shape: tuple[int, ...]) -> float:
    return parts.borders[shape] - parts.call


def iterate_parts(space: SearchSpace) -> Iterator[tuple[str, Graph]]:
    """Yield a name and a graph for everything of a space that is measured on its own, each once."""
    yield "call", empty_graph()
    for shape in border_shapes(space):
        yield f"border {'x'.join(map(str, shape))}", border_graph(shape)
    seen = set()
    for block in space.distinct_blocks():
        if (key := block_key(block)) not in seen:
            seen.add(key)
            yield key, Graph(isolated(block))
