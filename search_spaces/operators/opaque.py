"""Operators of ONNX that stay as they are: float32, computed by the runtime, in every format of their block."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper
from onnx.reference import ReferenceEvaluator

from search_spaces.graph.node import Doubles, Node, Weights, operator
from search_spaces.graph.tensor import TensorSpec
from search_spaces.operators.ends import Input

if TYPE_CHECKING:
    from search_spaces.lowering import Writer


class Subgraph:
    """ONNX operators with their constants; equal where their content is.

    Args:
        graph: Takes `i0`, `i1` and so on, gives `o`; its initializers are constants.
        opset: Version of ONNX that it is written in.
        macs: Multiply-accumulates for one sample; 0 where they are unknown, too.
    """

    def __init__(self, graph: onnx.GraphProto, opset: int, macs: float = 0.0) -> None:
        self.graph = graph
        self.opset = opset
        self.macs = macs

    @cached_property
    def digest(self) -> str:
        """Of everything, 16 hexadecimal digits."""
        return hashlib.sha256(self.graph.SerializeToString(deterministic=True)).hexdigest()[:16]

    @cached_property
    def timed(self) -> str:
        """Of what decides how long it takes: operators, attributes, and small constants, which may be shapes and axes."""
        text = hashlib.sha256()
        for node in self.graph.node:
            text.update(node.SerializeToString(deterministic=True))
        for tensor in self.graph.initializer:
            is_small = len(tensor.raw_data) <= 64
            text.update(tensor.SerializeToString(deterministic=True) if is_small else repr(tuple(tensor.dims)).encode())
        return f"{'+'.join(self.kinds)}-{text.hexdigest()[:8]}"

    @property
    def kinds(self) -> list[str]:
        """Names of its operators."""
        return [node.op_type for node in self.graph.node]

    @property
    def n_bytes(self) -> int:
        """Bytes of its floating-point constants."""
        floats = (t for t in self.graph.initializer if t.data_type == onnx.TensorProto.FLOAT)
        return sum(4 * int(np.prod(tensor.dims)) for tensor in floats)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Subgraph) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __str__(self) -> str:
        return self.digest


@operator("opaque")
@dataclass(frozen=True, kw_only=True)
class Opaque(Node):
    """A float32 subgraph of ONNX with one result.

    Attributes:
        subgraph: The operators.
        dtype: NumPy's name of the type of its result's elements.
        batched: False if its result has no batch axis.
    """

    subgraph: Subgraph = field()
    dtype: str = "float32"
    batched: bool = True

    stays_float = True

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """See `Node`."""
        return (TensorSpec(self.name, self.shape, self.dtype, self.batched),)

    @property
    def held_bytes(self) -> int:
        """See `Node`."""
        return self.subgraph.n_bytes

    def macs(self) -> float:
        """See `Node`."""
        return self.subgraph.macs

    def timed_words(self) -> list[str]:
        """See `Node`."""
        return [self.subgraph.timed, self.dtype, *([] if self.batched else ["unbatched"])]

    def emit(self, writer: "Writer") -> None:
        """See `Node`: the operators under names of their own."""
        names = {f"i{k}": name for k, name in enumerate(self.inputs)} | {"o": self.name, "": ""}
        writer.require_opset(self.subgraph.opset)
        for tensor in self.subgraph.graph.initializer:
            names[tensor.name] = writer.tensor(tensor, f"{self.name}/{tensor.name}")
        for i, node in enumerate(self.subgraph.graph.node):
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.name = f"{self.name}:{node.op_type}{i or ''}"
            del copy.input[:], copy.output[:]
            copy.input.extend(names.get(name, f"{self.name}/{name}") for name in node.input)
            copy.output.extend(names.get(name, f"{self.name}/{name}") for name in node.output)
            writer.operators.append(copy)

    def compute(self, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
        """See `Node`; by ONNX's own reference implementation, in the types of the operators."""
        version = helper.make_opsetid("", self.subgraph.opset)
        model = helper.make_model(self.subgraph.graph, opset_imports=[version], ir_version=10)
        kinds = [helper.tensor_dtype_to_np_dtype(i.type.tensor_type.elem_type) for i in self.subgraph.graph.input]
        given: dict[str, NDArray[Any]] = {
            f"i{k}": np.asarray(x, kind) for k, (x, kind) in enumerate(zip(inputs, kinds, strict=True))
        }
        (result,) = ReferenceEvaluator(model).run(None, given)
        return np.asarray(result, np.float64)

    @classmethod
    def examples(cls) -> tuple[tuple[Node, ...], ...]:
        """See `Node`."""
        taken, given = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in ("i0", "o"))
        graph = helper.make_graph([helper.make_node("Softplus", ["i0"], ["o"])], "softplus", [taken], [given])
        node = cls(name="y", inputs=("x",), shape=(3, 4, 5), subgraph=Subgraph(graph, 21))
        return ((Input(name="x", shape=(3, 4, 5)), node),)
