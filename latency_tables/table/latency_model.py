"""Latency model: the time of a network from its blocks, by signature, and the transitions between two blocks.

A block is measured on its own, with float32 going in. What two blocks cost together differs from the sum: converting and
reordering tensors falls away or comes on top. That depends, as measured, on little: the tensor's shape, the two formats,
the operator that gives the tensor and those that take it. For each such transition one pair of blocks is measured as a
chain, and what it takes beyond the two alone is the price of the transition. Prices of transitions that differ in shape only
lie on a line over the number of elements, which averages the noise of single ones.

A block that takes several tensors has a transition for each of them.

A network's latency is a line over seven sums, fitted on whole networks: times of its float32 and of its integer blocks, how
many there are of each, prices of its transitions without and with a change of format, and how many transitions change the
format (a change costs more the more a network has around it). See docs/decisions/0005-joins-of-blocks.md for what was
measured.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear

from search_spaces.costs import macs
from search_spaces.graph.graph import Graph, consumers
from search_spaces.graph.node import Node
from search_spaces.graph.signature import signature
from search_spaces.operators.elementwise import Relu
from search_spaces.operators.ends import Input
from search_spaces.precision.formats import FLOAT32
from search_spaces.precision.placement import gives_float, place_quantizers
from search_spaces.space.assembly import Assembly, Block, Edge, block_inputs, connect
from search_spaces.space.space import SearchSpace

FEATURES = ("float_ms", "integer_ms", "float_blocks", "integer_blocks", "kept_format_ms", "changed_format_ms", "changes")
N_FEATURES = len(FEATURES)
CALL = "call"
BEHIND = " || "  # between the name of a transition and the two blocks that it is measured with


@dataclass(frozen=True)
class Parts:
    """Times of the parts of networks in milliseconds.

    Attributes:
        blocks: By signature of the block with its own quantizers; measured on its own, the call included.
        transitions: By name of the transition: what two blocks take together beyond each alone, the call counted once; may
            be negative.
        call: An empty network: what a call costs by itself.
    """

    blocks: Mapping[str, float]
    transitions: Mapping[str, float]
    call: float


def isolated(block: Block) -> tuple[Node, ...]:
    """Return a block as it is measured: with float32 inputs, so that an integer block converts them itself."""
    return place_quantizers(block, [FLOAT32] * len(block_inputs(block)))


@lru_cache(maxsize=100_000)
def block_key(block: Block) -> str:
    """Return the signature under which a block stands in a table."""
    return signature(isolated(block))


def is_empty(block: Block) -> bool:
    """Return True if a block computes nothing: it hands on what the network takes."""
    return len(block) == 1


def producer_key(block: Block) -> str | None:
    """Return what matters of a block for the one behind it: shape, format and the operator that gives the tensor."""
    if is_empty(block):
        return None
    last = block[-1]
    crosses = "float32" if gives_float(last) else block[0].precision.price_class
    return f"{_shape(last)} {crosses} {last.op}"


def consumer_key(block: Block, position: int = 0) -> str:
    """Return what matters of a block for one before it: shape, format and the operators that take the tensor.

    Args:
        block: Without quantizers.
        position: Which of its inputs.
    """
    first = block_inputs(block)[position]
    takers = consumers(block)[first.name]
    crosses = "float32" if all(taker.stays_float for taker in takers) else block[0].precision.price_class
    return f"{_shape(first)} {crosses} {' '.join(sorted(taker.op for taker in takers))}"


def transition_key(producer: str, consumer: str) -> str:
    """Return the name of the transition of what one block gives and the next takes."""
    return f"join {producer} > {consumer}"


def empty_graph() -> Graph:
    """Return a network that does next to nothing."""
    return Graph((Input(name="x", shape=(1, 1, 1)), Relu(name="y", inputs=("x",), shape=(1, 1, 1))))


def pair_graph(first: Block, second: Block, position: int = 0) -> Graph:
    """Return two blocks, the second taking at `position` what the first gives, and all else from outside."""
    blocks = (_renamed(first, "first/"), _renamed(second, "second/"))
    return connect(Assembly(("first", "second"), blocks, (Edge(0, 1, position),)))


def block_features(parts: Parts, block: Block) -> NDArray[np.float64]:
    """Return what a block (without quantizers) adds to the sums, shape `(7,)`."""
    if is_empty(block):
        return np.zeros(N_FEATURES)
    ms = parts.blocks[block_key(block)] - parts.call
    return np.array([ms, 0, 1, 0, 0, 0, 0] if block[0].precision.is_float32 else [0, ms, 0, 1, 0, 0, 0], dtype=np.float64)


def transition_features(parts: Parts, producer: str, consumer: str) -> NDArray[np.float64]:
    """Return what a transition adds to the sums, shape `(7,)`."""
    price = parts.transitions[transition_key(producer, consumer)]
    keeps_format = producer.split(" ")[1] == consumer.split(" ")[1]
    return np.array([0, 0, 0, 0, price, 0, 0] if keeps_format else [0, 0, 0, 0, 0, price, 1], dtype=np.float64)


def network_features(parts: Parts, network: Assembly) -> NDArray[np.float64]:
    """Return the sums of a whole network, shape `(7,)`."""
    rows = [block_features(parts, block) for block in network.blocks]
    for edge in network.edges:
        if producer := producer_key(network.blocks[edge.producer]):
            consumer = consumer_key(network.blocks[edge.consumer], edge.position)
            rows.append(transition_features(parts, producer, consumer))
    total: NDArray[np.float64] = np.sum(rows, axis=0)
    return total


def prior(parts: Parts) -> NDArray[np.float64]:
    """Return constant and coefficients before any whole network was measured, shape `(8,)`: one call and the sum."""
    return np.array([parts.call, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0])


def fit(parts: Parts, networks: Sequence[Assembly], measured_ms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fit constant and coefficients on whole networks.

    Least squares of the relative error, drawn towards the prior by a ridge whose strength is that of a tenth of a network;
    the constant is not negative.

    Args:
        parts: Times of the parts.
        networks: Whole ones.
        measured_ms: Their times, shape `(n,)`.

    Returns:
        Shape `(8,)`.
    """
    rows = np.array([[1.0, *network_features(parts, network)] for network in networks]) / measured_ms[:, None]
    start = prior(parts)
    size = np.sqrt((rows**2).mean(axis=0))
    residual = 1.0 - rows @ start
    size[size == 0] = 1.0  # a sum that is zero in every network, such as changes where there is but one format
    ridge = np.diag(np.sqrt(RIDGE) * size)
    lower = np.full(len(start), -np.inf)
    lower[0] = -start[0]  # a call takes no less than nothing, however noisy the networks were
    target = np.concatenate([residual, np.zeros(len(start))])
    change = lsq_linear(np.vstack([rows, ridge]), target, bounds=(lower, np.inf)).x
    fitted: NDArray[np.float64] = start + change
    return fitted


RIDGE = 0.1


def iterate_parts(space: SearchSpace) -> Iterator[tuple[str, Graph]]:
    """Yield a name and a graph for everything of a space that is measured besides whole networks, each once."""
    yield CALL, empty_graph()
    producers: dict[str, Block] = {}
    consumers_of: dict[str, tuple[Block, int]] = {}
    seen = set()
    for block in sorted((block for block in space.distinct_blocks() if not is_empty(block)), key=macs):
        producers.setdefault(str(producer_key(block)), block)  # the smallest block: what the pair adds stands out most
        for position in range(len(block_inputs(block))):
            consumers_of.setdefault(consumer_key(block, position), (block, position))
        if (key := block_key(block)) not in seen:
            seen.add(key)
            yield key, Graph(isolated(block))
    for producer, consumer in transition_kinds(space):
        first, (second, position) = producers[producer], consumers_of[consumer]
        yield (
            BEHIND.join([transition_key(producer, consumer), block_key(first), block_key(second)]),
            pair_graph(first, second, position),
        )


def transition_kinds(space: SearchSpace) -> list[tuple[str, str]]:
    """Return what is given and what is taken, for every kind of transition in a space."""
    kinds = {
        pair for factor in space.transitions(producer_key, consumer_key) for pair in factor.values.flat if pair is not None
    }
    return sorted(kinds)


def sort_parts(ms: Mapping[str, float]) -> Parts:
    """Return measured milliseconds sorted by kind.

    Args:
        ms: By the names that `iterate_parts` gives.

    Raises:
        KeyError: If the call is missing, or a block that a transition was measured with.
    """
    call = ms[CALL]
    blocks = {name: value for name, value in ms.items() if name != CALL and BEHIND not in name}
    transitions = {}
    for name, value in ms.items():
        if BEHIND in name:
            key, first, second = name.split(BEHIND)
            transitions[key] = value - blocks[first] - blocks[second] + call
    return Parts(blocks, _on_lines(transitions), call)


def _on_lines(transitions: Mapping[str, float]) -> dict[str, float]:
    """Return the prices of transitions, put on a line over the elements for those that differ in shape only."""
    alike: dict[str, list[str]] = {}
    for key in transitions:
        alike.setdefault(re.sub(r"[0-9x]*[0-9] ", "", key), []).append(key)
    found: dict[str, float] = {}
    for keys in alike.values():
        elements = [math.prod(map(int, key.split(" ")[1].split("x"))) / 1000 for key in keys]
        rows = np.column_stack([np.ones(len(keys)), elements])
        # A slope must pay for itself: it is drawn towards zero as if by half a thousand elements at no price.
        line, *_ = np.linalg.lstsq(
            np.vstack([rows, [0.0, 0.5]]), np.array([*(transitions[key] for key in keys), 0.0]), rcond=None
        )
        found |= dict(zip(keys, map(float, rows @ line), strict=True))
    return found


def copied(graph: Graph, n: int) -> Graph:
    """Return `n` copies of a block beside one another, each with inputs, weights and outputs of its own."""
    if n == 1:
        return graph
    return Graph(tuple(node for i in range(n) for node in _renamed(graph.nodes, f"copy{i}/")))


def _renamed(block: Block, prefix: str) -> Block:
    return tuple(node.renamed(prefix) for node in block)


def _shape(node: Node) -> str:
    return "x".join(map(str, node.shape))
