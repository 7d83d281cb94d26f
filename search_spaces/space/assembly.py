"""Assembly: the blocks of one network and who takes what of whom; `connect` makes it a graph."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from search_spaces.graph.graph import Graph
from search_spaces.graph.node import Node
from search_spaces.graph.tensor import TensorSpec
from search_spaces.operators.ends import Input
from search_spaces.operators.quantize import Quantize
from search_spaces.precision.formats import FLOAT32, NumberFormat
from search_spaces.precision.placement import gives_float, place_quantizers

Block = tuple[Node, ...]


@dataclass(frozen=True)
class Edge:
    """A block takes what an earlier one gives.

    Attributes:
        producer: Index of the block that gives the tensor.
        consumer: Index of the one that takes it, a greater one.
        position: Which of the consumer's inputs it is, from 0.
    """

    producer: int
    consumer: int
    position: int = 0


@dataclass(frozen=True)
class Assembly:
    """The blocks of one network, without quantizers, in an order in which they can be computed.

    Attributes:
        names: Of the blocks.
        blocks: Inputs first, the result last; an input that no edge feeds is one of the network.
        edges: Who takes what of whom.
    """

    names: tuple[str, ...]
    blocks: tuple[Block, ...]
    edges: tuple[Edge, ...]

    def formats(self, index: int) -> tuple[NumberFormat, ...]:
        """Return the format in which each input of a block arrives."""
        borders = {edge.position: border(self.blocks[edge.producer]) for edge in self.edges if edge.consumer == index}
        return tuple(borders.get(k, FLOAT32) for k in range(len(block_inputs(self.blocks[index]))))


def block_inputs(block: Block) -> tuple[Node, ...]:
    """Return the inputs of a block, in the order of its slot's sources."""
    return tuple(node for node in block if isinstance(node, Input))


def border(block: Block) -> NumberFormat:
    """Return the format in which a block gives its result: float32 where its last operator does, whatever its block does."""
    return FLOAT32 if gives_float(block[-1]) else block[0].precision.border


def connect(assembly: Assembly) -> Graph:
    """Return the network with its quantizers. A block that takes another format than it is given converts it for itself.

    Raises:
        ValueError: If a tensor is given in another shape or type than it is taken in.
    """
    nodes: dict[str, Node] = {}
    block_of: dict[str, str] = {}
    results: list[Node] = []
    for j, (name, block) in enumerate(zip(assembly.names, assembly.blocks, strict=True)):
        inputs = block_inputs(block)
        given = {inputs[edge.position].name: results[edge.producer] for edge in assembly.edges if edge.consumer == j}
        for taken in inputs:
            if taken.name in given:
                check_agreement(taken.outputs[0], given[taken.name].outputs[0])
        last = given.get(inputs[-1].name) if inputs else None
        for node in place_quantizers(block, assembly.formats(j)):
            if node.name in given:
                continue
            if node.name in nodes:
                raise ValueError(f"two nodes are called '{node.name}'")
            last = nodes[node.name] = _connected(node, given, nodes)
            block_of[node.name] = name
        assert last is not None
        results.append(last)
    return Graph(tuple(nodes.values()), block_of)


def check_agreement(taken: TensorSpec, given: TensorSpec) -> None:
    """Raise `ValueError` if an input of a block differs in shape or type from the tensor that it is given."""
    if (taken.shape, taken.dtype, taken.batched) != (given.shape, given.dtype, given.batched):
        took, gave = (f"{tensor.dtype} of shape {tensor.shape}" for tensor in (taken, given))
        raise ValueError(f"'{taken.name}' takes {took}, but '{given.name}' gives {gave}")


def _connected(node: Node, given: Mapping[str, Node], before: Mapping[str, Node]) -> Node:
    """Return a node that takes the results of other blocks in place of its block's inputs.

    A quantizer that shares a scale has the format of the one whose scale it is, which may stand in another block.

    Args:
        node: Of a block with its quantizers.
        given: Results of other blocks by the names of the block's inputs.
        before: The nodes of the network so far.
    """
    node = replace(node, inputs=tuple(given[name].name if name in given else name for name in node.inputs))
    if isinstance(node, Quantize) and node.shares:
        source = given.get(node.shares) or before[node.shares]
        assert isinstance(source, Quantize), f"'{node.name}' shares the scale of '{source.name}', which has none"
        node = replace(node, shares=source.shares or source.name, format=source.format)
    return node
