"""Reader: a trained network in ONNX becomes nodes and weights of ours, and a report of what was read.

What has no operator here stays as it is, in float32 (`Opaque`): reading never fails for it.
"""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from search_spaces.graph.node import Node
from search_spaces.importing.operators import READERS, Arrays, Place
from search_spaces.importing.patterns import rewrite
from search_spaces.importing.program import Op, Program
from search_spaces.operators.ends import Input
from search_spaces.operators.opaque import Opaque, Subgraph

KNOWN = frozenset(
    [
        "Abs",
        "Add",
        "And",
        "ArgMax",
        "AveragePool",
        "BatchNormalization",
        "Cast",
        "Ceil",
        "Clip",
        "Concat",
        "Cos",
        "CumSum",
        "Div",
        "Elu",
        "Equal",
        "Erf",
        "Exp",
        "Expand",
        "Flatten",
        "Floor",
        "Gather",
        "GatherElements",
        "GatherND",
        "Gelu",
        "GlobalMaxPool",
        "Greater",
        "GreaterOrEqual",
        "GroupNormalization",
        "HardSigmoid",
        "HardSwish",
        "Identity",
        "InstanceNormalization",
        "LayerNormalization",
        "LeakyRelu",
        "Less",
        "LessOrEqual",
        "Log",
        "LogSoftmax",
        "MatMul",
        "Max",
        "MaxPool",
        "Min",
        "Mish",
        "Mod",
        "Mul",
        "Neg",
        "Not",
        "Or",
        "PRelu",
        "Pad",
        "Pow",
        "RMSNormalization",
        "Range",
        "Reciprocal",
        "ReduceL2",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "ReduceProd",
        "ReduceSum",
        "Relu",
        "Reshape",
        "Resize",
        "Round",
        "Selu",
        "Shape",
        "Sigmoid",
        "Sign",
        "Sin",
        "Slice",
        "Softmax",
        "Softplus",
        "Softsign",
        "Split",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Swish",
        "Sum",
        "Tanh",
        "Tile",
        "Transpose",
        "Unsqueeze",
        "Where",
        "Conv",
        "ConvTranspose",
        "Gemm",
        "Linear",
        "Attention",
        "DepthToSpace",
        "SpaceToDepth",
        "GlobalAveragePool",
    ]
)
"""Operators that are understood although they stay in float32; of all others not even the multiply-accumulates are known."""


@dataclass(frozen=True)
class Imported:
    """A trained network as it was read.

    Attributes:
        nodes: An `Input` for each thing that it takes first; no quantizers, no outputs.
        weights: Float32 arrays by `NODE/ROLE`.
        outputs: Name of an output to the node that gives it.
        scopes: Of each node the path of its module, with dots; empty where the file has none.
        patterns: How often each pattern matched.
        unknown: Of each operator that is not known, its name and kind.
    """

    nodes: tuple[Node, ...]
    weights: Mapping[str, np.ndarray]
    outputs: Mapping[str, str]
    scopes: Mapping[str, str]
    patterns: Mapping[str, int]
    unknown: Mapping[str, str]

    @property
    def known_share(self) -> float:
        """Share of all multiply-accumulates, as far as they are known, that have integer forms."""
        total = sum(node.macs() for node in self.nodes)
        return sum(node.macs() for node in self.nodes if not node.stays_float) / total if total else 0.0

    @property
    def read_share(self) -> float:
        """Share of multiply-accumulates in operators that are known; one that is not counts as its weights."""
        total = sum(self._work(node) for node in self.nodes)
        return sum(self._work(node) for node in self.nodes if node.name not in self.unknown) / total if total else 0.0

    @property
    def weights_share(self) -> float:
        """Share of the bytes of all weights that can be held in integers."""
        quantized = sum(4 * math.prod(s.shape) for node in self.nodes for s in node.weights() if s.quantized)
        held = sum(node.held_bytes for node in self.nodes)
        total = held + sum(4 * math.prod(s.shape) for node in self.nodes for s in node.weights() if s.is_counted)
        return quantized / total if total else 0.0

    def kinds(self) -> Counter[str]:
        """Count the nodes of each kind; those that stay in float32 by their ONNX names."""
        names = ("+".join(n.subgraph.kinds) if isinstance(n, Opaque) else n.op for n in self.nodes if n.inputs)
        return Counter(names)

    def _work(self, node: Node) -> float:
        return node.macs() or (node.held_bytes / 4 if node.name in self.unknown else 0.0)


def read(program: Program, *, left_out: Collection[str] = ()) -> Imported:
    """Read a program; it is changed.

    Args:
        program: As `canonicalize` gives it.
        left_out: Patterns that are not tried.
    """
    patterns = rewrite(program, left_out)
    reader = _Reader(program)
    for op in program.ops:
        reader.add(op)
    outputs = {name: reader.names[name] for name in program.outputs}
    return Imported(tuple(reader.nodes), reader.weights, outputs, reader.scopes, patterns, reader.unknown)


class _Reader:
    """Nodes so far.

    Args:
        program: The whole, in its last form.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.names: dict[str, str] = {}  # of a tensor: the node that gives it
        self.weights: Arrays = {}
        self.scopes: dict[str, str] = {}
        self.unknown: dict[str, str] = {}
        self.taken: set[str] = {*program.inputs, *program.outputs}
        self.nodes: list[Node] = []
        for name in program.inputs:
            shape, batched = without_batch(program.shapes[name])
            self.nodes.append(Input(name=name, shape=shape, dtype=program.dtypes[name], batched=batched))
            self.names[name], self.scopes[name] = name, ""

    def add(self, op: Op) -> None:
        """Read one operator."""
        name = self._name(op)
        inputs = tuple(self.names[t] for t in op.inputs if t and t not in self.program.constants)
        place = Place(self.program, op, name, inputs)
        read = READERS.get(op.kind)(place) if op.kind in READERS.names and inputs else None
        if read is None:
            for tensor in (tensor for tensor in op.outputs if self._is_needed(tensor)):
                own = name if tensor == op.output else self._free(f"{name}/{op.outputs.index(tensor)}")
                self._keep(self._opaque(op, tensor, own, inputs), tensor, op.scope)
                if op.kind not in KNOWN:
                    self.unknown[own] = op.kind
            return
        node, arrays = read
        self.weights |= {f"{node.name}/{role}": array for role, array in arrays.items()}
        self._keep(node, op.output, op.scope)

    def _keep(self, node: Node, tensor: str, scope: str) -> None:
        self.nodes.append(node)
        self.names[tensor], self.scopes[node.name] = node.name, scope

    def _is_needed(self, tensor: str) -> bool:
        return bool(tensor) and (bool(self.program.consumers(tensor)) or tensor in self.program.outputs)

    def _name(self, op: Op) -> str:
        if op.scope:
            return self._free(f"{op.scope.replace('.', '/')}/{op.kind.lower()}")
        return self._free(op.name.strip("/") or f"{op.kind.lower()}")

    def _free(self, name: str) -> str:
        free, n = name, 1
        while free in self.taken:
            n += 1
            free = f"{name}_{n}"
        self.taken.add(free)
        return free

    def _opaque(self, op: Op, tensor: str, name: str, inputs: Sequence[str]) -> Node:
        """Return an operator as it is, with its constants; of several results the one that is asked for."""
        program = self.program
        shape, batched = without_batch(program.shapes[tensor])
        return Opaque(
            name=name,
            inputs=tuple(dict.fromkeys(inputs)),
            shape=shape,
            dtype=program.dtypes[tensor],
            batched=batched,
            subgraph=subgraph(program, op, tensor),
        )


def without_batch(shape: tuple[int, ...]) -> tuple[tuple[int, ...], bool]:
    """Return a shape without its batch axis, and whether it has one: an axis of 1 in front."""
    batched = bool(shape) and shape[0] == 1
    return (shape[1:], True) if batched else (shape, False)


def subgraph(program: Program, op: Op, tensor: str) -> Subgraph:
    """Return one operator with its constants, under names of its own."""
    names: dict[str, str] = {}
    inputs: list[onnx.ValueInfoProto] = []
    constants: list[onnx.TensorProto] = []
    for taken in op.inputs:
        if not taken or taken in names:
            continue
        if taken in program.constants:
            names[taken] = f"c{len(constants)}"
            constants.append(numpy_helper.from_array(np.asarray(program.constants[taken], order="C"), names[taken]))
            continue
        names[taken] = f"i{len(inputs)}"
        element = helper.np_dtype_to_tensor_dtype(np.dtype(program.dtypes[taken]))
        inputs.append(helper.make_tensor_value_info(names[taken], element, None))
    given = ["o" if each == tensor else (f"unused{k}" if each else "") for k, each in enumerate(op.outputs)]
    kind = "MatMul" if op.kind == "Linear" else op.kind
    node = helper.make_node(kind, [names.get(t, "") for t in op.inputs], given, **op.attributes)
    elem = helper.np_dtype_to_tensor_dtype(np.dtype(program.dtypes[tensor]))
    graph = helper.make_graph([node], op.kind, inputs, [helper.make_tensor_value_info("o", elem, None)], constants)
    return Subgraph(graph, program.opset, macs_of(program, op))


def macs_of(program: Program, op: Op) -> float:
    """Return the multiply-accumulates of an operator for one sample; 0 where they are not known."""

    def shape(i: int) -> tuple[int, ...]:
        name = op.inputs[i]
        constant = program.constants.get(name)
        return program.shapes.get(name, ()) if constant is None else tuple(constant.shape)

    size = math.prod(program.shapes[op.output])
    if op.kind in ("MatMul", "Linear"):
        return size * shape(0)[-1]
    if op.kind == "Gemm":
        return size * shape(0)[0 if op.attributes.get("transA", 0) else 1]
    if op.kind == "Conv":
        return size * math.prod(shape(1)[1:])
    if op.kind == "ConvTranspose":
        return math.prod(shape(0)) * math.prod(shape(1)[1:])
    if op.kind == "Attention":
        queries, keys = shape(0), shape(1)
        tokens = math.prod(keys[:-1]) if len(keys) == 3 else keys[2]
        return 2 * math.prod(queries) * tokens
    if op.kind in ("LSTM", "GRU", "RNN"):
        steps = shape(0)[0]
        return steps * (math.prod(shape(1)) + math.prod(shape(2)))
    return 0.0
