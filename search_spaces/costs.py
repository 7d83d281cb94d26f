"""Exact costs of networks without running them, and FactorTable, which adds them up for whole populations.

Every cost exists twice: a function of a graph, and a table over genomes that gives the same numbers by a few gathers.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_spaces.errors import InvalidInputError
from search_spaces.graph.graph import Graph, consumers
from search_spaces.graph.node import Node, n_elements
from search_spaces.operators.quantize import Quantize
from search_spaces.precision.formats import FLOAT32, NumberFormat
from search_spaces.precision.placement import place_quantizers, quantizer_name
from search_spaces.space.assembly import Block, block_inputs
from search_spaces.space.factor import Factor, combine
from search_spaces.space.space import Genomes, SearchSpace


@dataclass(frozen=True)
class FactorTable:
    """A cost of genomes: the sum (or the maximum) of small tables.

    Attributes:
        factors: Tables of float64 values.
        constant: Added to the sum.
        takes_max: Take the greatest factor instead of their sum.
    """

    factors: tuple[Factor, ...]
    constant: float = 0.0
    takes_max: bool = False

    def __call__(self, genomes: Genomes) -> NDArray[np.float64]:
        """Return the cost of canonical genomes of shape `(n, n_genes)`; shape `(n,)`."""
        total = np.zeros(len(genomes))
        for factor in self.factors:
            if self.takes_max:
                np.maximum(total, factor(genomes), out=total)
            else:
                total += factor(genomes)
        return total + self.constant

    def expected(self, shares: Sequence[NDArray[np.float64]]) -> float:
        """Return the exact expectation where genes are independent.

        Args:
            shares: For each gene the probability of each option.

        Raises:
            InvalidInputError: If it is a maximum.
        """
        self._check_sum("the expectation")
        return self.constant + sum(float(_contracted(factor, shares)) for factor in self.factors)

    def gradient(self, shares: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
        """Return the gradient of `expected` by each probability, in the shapes of `shares`.

        For an option it is the expectation of the tables that read its gene, given that option.
        """
        self._check_sum("the gradient")
        found = [np.zeros(len(share)) for share in shares]
        for factor in self.factors:
            for gene in factor.genes:
                found[gene] += _contracted(factor, shares, kept=gene)
        return found

    def _check_sum(self, what: str) -> None:
        if self.takes_max:
            raise InvalidInputError(f"{what} of a cost that is a maximum is not known; use sums")

    def __neg__(self) -> "FactorTable":
        """Return the cost with its sign turned.

        Raises:
            InvalidInputError: If it is a maximum.
        """
        if self.takes_max:
            raise InvalidInputError("a cost that is a maximum cannot be turned; use sums")
        return FactorTable(tuple(Factor(factor.genes, -factor.values) for factor in self.factors), -self.constant)


def _contracted(factor: Factor, shares: Sequence[NDArray[np.float64]], kept: int | None = None) -> NDArray[np.float64]:
    """Return the mean of a factor's values over all genes but `kept`."""
    values = factor.values.astype(np.float64)
    for axis in reversed(range(len(factor.genes))):
        if factor.genes[axis] != kept:
            values = np.tensordot(values, shares[factor.genes[axis]], axes=(axis, 0))
    return np.asarray(values)


def macs(nodes: Sequence[Node]) -> float:
    """Return the multiply-accumulate operations of all operators for one sample."""
    return sum(node.macs() for node in nodes)


def bitops(nodes: Sequence[Node]) -> float:
    """Return MACs times the bits of both operands, of weights and activations as in HAWQ-V3 (arXiv:2011.10680)."""
    by_name = {node.name: node for node in nodes}

    def bits(name: str) -> int:
        source = by_name[name]
        return source.format.bits if isinstance(source, Quantize) else source.precision.border.bits

    total = 0.0
    for node in nodes:
        if node.macs() and any(spec.quantized for spec in node.weights()):
            scheme = node.precision
            met = scheme.activations.bits if scheme.is_float32 or scheme.is_grouped else bits(node.inputs[0])
            total += node.macs() * scheme.weights.bits * met
        elif node.macs():
            total += node.macs() * math.prod(bits(name) for name in node.inputs)
    return total


def parameters(nodes: Sequence[Node]) -> float:
    """Return the number of weights and biases, batch norm folded into them."""
    return sum(math.prod(spec.shape) for node in nodes for spec in node.weights() if spec.is_counted)


def size_bytes(nodes: Sequence[Node]) -> float:
    """Return the bytes of the weights when packed.

    Per tensor: quantized ones at their bit-width, rounded up to whole bytes, and 4 bytes for each scale: one a channel, one
    a group, one in all, or none in float32; others, such as biases, at 4 bytes an element; tied ones once. The file on disk
    is larger where weights below 8 bits lie in int8 containers, which static integer kernels want.
    """
    total = sum(node.held_bytes for node in nodes)
    for node in nodes:
        for spec in (spec for spec in node.weights() if spec.is_counted):
            n = math.prod(spec.shape)
            scheme = node.precision
            total += math.ceil(n * scheme.weights.bits / 8) + 4 * scheme.n_scales(spec.shape) if spec.quantized else 4 * n
    return total


def peak_activation_bytes(nodes: Sequence[Node], sources: Sequence[NumberFormat] = ()) -> float:
    """Return the greatest number of bytes of activations alive at once while one sample is computed.

    A tensor is alive from the operator that writes it to the last that reads it. An operator, its ReLU and its quantizer
    write once, in the last one's format.

    Args:
        nodes: A network, or one block.
        sources: Formats of the inputs when `nodes` is a block in the middle of a network; none: as they are.
    """
    arriving = formats_of_inputs(nodes, sources)
    consumers_of = consumers(nodes)
    index = {node.name: i for i, node in enumerate(nodes)}
    first = dict(index)  # where the operator that ends in this tensor begins
    spans: list[tuple[int, int, int]] = []
    for node in nodes:
        if len(node.inputs) == 1 and _is_absorbed(nodes[index[node.inputs[0]]], consumers_of[node.inputs[0]]):
            first[node.name] = first[node.inputs[0]]
        if not _is_absorbed(node, consumers_of[node.name]):
            last = max((index[consumer.name] for consumer in consumers_of[node.name]), default=index[node.name])
            spans.append((first[node.name], last, _stored_bytes(node, arriving.get(node.name))))
    return max(sum(n_bytes for begin, end, n_bytes in spans if begin <= i <= end) for i in range(len(nodes)))


def _is_absorbed(node: Node, consumers_of: Sequence[Node]) -> bool:
    """Return True if the tensor is never written because an activation or quantizer is computed on the fly."""
    if len(consumers_of) != 1 or node.gives_8_bits:
        return False
    if isinstance(consumers_of[0], Quantize):  # its own one: that of another block behind a float32 border is computed there
        return consumers_of[0].name == quantizer_name(node)
    return consumers_of[0].is_fused


def formats_of_inputs(nodes: Sequence[Node], sources: Sequence[NumberFormat]) -> dict[str, NumberFormat]:
    """Return the format in which each input of a block arrives by its name; nothing where `sources` are none."""
    inputs = [node.name for node in nodes if not node.inputs]
    return dict(zip(inputs, sources, strict=True)) if sources else {}


def _stored_bytes(node: Node, source: NumberFormat | None) -> int:
    tensor_format = source or (node.format if isinstance(node, Quantize) else FLOAT32)
    n_bytes = tensor_format.stored_bytes if node.outputs[0].dtype == "float32" else np.dtype(node.outputs[0].dtype).itemsize
    return n_elements(node) * n_bytes


def graph_costs(graph: Graph) -> dict[str, float]:
    """Return every exact cost of one network by name."""
    costs = {name: function(graph.nodes) for name, function in ADDITIVE.items()}
    return {**costs, "peak_activation_bytes": peak_activation_bytes(graph.nodes)}


def cost_table(space: SearchSpace, name: str) -> FactorTable:
    """Return the table of the cost called `name`, a key of `ADDITIVE` or `peak_activation_bytes`.

    Equal to `graph_costs` of each network to the last digit.

    Raises:
        InvalidInputError: If it is the peak of networks that are no chains: what is alive beside a block depends on all.
    """
    if name == "peak_activation_bytes":
        if not space.is_chain:
            raise InvalidInputError(
                f"the peak of space '{space.name}' is no table, as its networks are no chains; take it from `graph_costs`"
            )
        return FactorTable(
            incoming_costs(space, lambda s, b: peak_activation_bytes(place_quantizers(b, s), s)), takes_max=True
        )
    return additive_table(space, ADDITIVE[name])


def cache_bytes(nodes: Sequence[Node]) -> float:
    """Return the bytes of what operators keep between two calls."""
    return sum(np.dtype(state.dtype).itemsize * math.prod(state.shape) for node in nodes for state in node.states)


def additive_table(space: SearchSpace, cost: Callable[[Sequence[Node]], float]) -> FactorTable:
    """Return the table of a cost that is the sum over blocks, each with its quantizers."""
    factors = [
        combine(lambda block: cost(place_quantizers(block, _joined(block))) if block else 0.0, [factor])
        for factor in space.blocks
    ]
    return FactorTable(tuple(factor.reduced().astype(np.float64) for factor in factors))


def _joined(block: Block) -> list[NumberFormat]:
    """Return formats of inputs that a block takes as they are."""
    return [block[0].precision.border] * len(block_inputs(block))


def incoming_costs(space: SearchSpace, price: Callable[[tuple[NumberFormat, ...], Block], float]) -> tuple[Factor, ...]:
    """Return factors of what a block costs given the formats in which its inputs arrive."""
    factors = (combine(lambda incoming: price(*incoming) if incoming else 0.0, [factor]) for factor in space.incoming)
    return tuple(factor.reduced().astype(np.float64) for factor in factors)


ADDITIVE: dict[str, Callable[[Sequence[Node]], float]] = {
    "macs": macs,
    "bitops": bitops,
    "parameters": parameters,
    "size_bytes": size_bytes,
}
