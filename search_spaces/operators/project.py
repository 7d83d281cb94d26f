"""Layers on tokens: the last axis of each token through a matrix, whose weights may lie in groups."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from search_spaces.graph.graph import Graph, consumers
from search_spaces.graph.node import (
    Doubles,
    Floats,
    Node,
    Quantized,
    Weights,
    WeightSpec,
    n_elements,
    operator,
    untimed,
)
from search_spaces.operators.ends import Input
from search_spaces.precision.grouped import dequantize_groups, round_rows, unpack_codes

if TYPE_CHECKING:
    from search_spaces.lowering import Writer


@operator("project")
@dataclass(frozen=True, kw_only=True)
class Project(Node):
    """A matrix on the last axis of `(tokens, in_features)`, without bias; its result is float32 in every format.

    Neighbours that take one tensor and give all they have to one operator that takes it packed are one matrix in ONNX.

    Attributes:
        in_features: Elements of a token that it takes.
        tied_to: Name of an `Embedding` whose table is its matrix; empty: it has its own.
    """

    in_features: int = untimed()
    tied_to: str = untimed(default="")

    gives_raw = True
    takes_groups = True
    refers = ("tied_to",)
    has_integer_kernel = True

    def weights(self) -> tuple[WeightSpec, ...]:
        """Weight `(out, in)`."""
        shape = (self.shape[-1], self.in_features)
        return (WeightSpec("weight", shape, ("out", "in"), quantized=True, init="normal", shared_with=self.tied_to),)

    def macs(self) -> float:
        """See `Node`."""
        return n_elements(self) * self.in_features

    def emit(self, writer: "Writer") -> None:
        """MatMul in float32 or, of groups, MatMulNBits; onnxruntime makes MatMulIntegerToFloat of one of static integers."""
        pack = writer.packs.get(self.name) or Pack((self,))
        if pack.members[0] is self:
            _emit(writer, pack)

    def compute(self, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
        """See `Node`; activations that are rounded at run time are rounded in float32, as kernels do."""
        weight, x = self._operands(inputs[0], weights)
        result: Doubles = x @ weight.T
        return result

    def magnitude(self, inputs: Sequence[Doubles], weights: Weights, result: Doubles) -> Doubles:
        """See `Node`: kernels of groups multiply integers that begin at zero, and take off what was added to them."""
        weight, x = self._operands(inputs[0], weights)
        squares = weight**2
        if self.precision.is_grouped:
            scale = weights[f"{self._weight}_scale"].astype(np.float64) * 2 ** (self.precision.weights.bits - 1)
            squares += np.repeat(scale**2, self.precision.group, axis=1)
        found: Doubles = np.maximum(np.sqrt(x**2 @ squares.T), np.abs(result))
        return found

    @property
    def _weight(self) -> str:
        """Name of its weight, which may be an embedding's."""
        return f"{self.tied_to or self.name}/weight"

    def _operands(self, taken: Doubles, weights: Weights) -> tuple[Doubles, Doubles]:
        """Return what is multiplied: the matrix `(out, in)`, and tokens as they are after kernels rounded them."""
        weight, x = weights[self._weight], taken.astype(np.float64)
        if not self.precision.is_grouped:
            return weight.astype(np.float64), x
        if self.precision.is_dynamic:
            x = round_rows(x.astype(np.float32), self.precision.group).astype(np.float64)
        return dequantize_groups(weight, weights[f"{self._weight}_scale"]), x

    def compute_integers(self, inputs: Sequence[Quantized], output: Quantized | None, weights: Weights) -> Floats:
        """See `Node`."""
        name = self._weight
        scale_out = np.float32(output.scale) if output else np.float32(1)
        multiplier = (np.float32(inputs[0].scale) * weights[f"{name}_scale"].astype(np.float32)) / scale_out
        sums = inputs[0].integers.astype(np.float64) @ weights[name].astype(np.float64).T
        return sums.astype(np.float32) * multiplier

    @classmethod
    def examples(cls) -> tuple[tuple[Node, ...], ...]:
        """See `Node`."""
        x = Input(name="x", shape=(3, 64))
        return ((x, cls(name="y", inputs=("x",), shape=(3, 5), in_features=64)),)


@dataclass(frozen=True)
class Pack:
    """Neighbours that are one matrix in ONNX, or a single projection.

    Attributes:
        members: In the order of their rows.
    """

    members: tuple[Project, ...]

    @property
    def name(self) -> str:
        """Of the tensor that they give together, one behind the other along the last axis."""
        return f"{self.members[0].name}/packed" if len(self.members) > 1 else self.members[0].name

    @property
    def owners(self) -> list[str]:
        """Names of the weights of its members."""
        return [f"{each.tied_to or each.name}/weight" for each in self.members]

    @property
    def weight(self) -> str:
        """What the weight of all together is called in a model."""
        return f"{self.name}/weight" if len(self.members) > 1 else self.owners[0]


def packs(graph: Graph) -> Mapping[str, Pack]:
    """Return the packs of a graph by the names of their members."""
    found: dict[str, Pack] = {}
    consumers_of = consumers(graph.nodes)
    for node in graph.nodes:
        given = [graph[name] for name in node.inputs]
        members = tuple(each for each in given if isinstance(each, Project))
        if not node.takes_packed or len(members) != len(given) or len({each.inputs for each in members}) > 1:
            continue
        if len({each.precision for each in members}) == 1 and all(len(consumers_of[each.name]) == 1 for each in members):
            found |= {each.name: Pack(members) for each in members}
    return found


def _emit(writer: "Writer", pack: Pack) -> None:
    """Write the rows of a pack as one matrix."""
    members, owners, name, output = pack.members, pack.owners, pack.weight, pack.name
    first = members[0]
    source, scheme = first.inputs[0], first.precision
    if scheme.is_grouped and writer.portable:
        writer.operator("MatMul", [source, _portable_matrix(writer, pack)], output)
        return
    if scheme.is_grouped:
        packed, scales = writer.grouped_weight(name, owners, scheme.weights.bits)
        attributes: dict[str, Any] = {"N": sum(each.shape[-1] for each in members), "K": first.in_features}
        attributes |= {"bits": scheme.weights.bits, "block_size": scheme.group}
        attributes |= {"accuracy_level": 4} if scheme.is_dynamic else {}  # otherwise activations stay float32
        writer.contrib("MatMulNBits", [source, packed, scales], output, **attributes)
        return
    rows = np.concatenate([writer.weights[owner] for owner in owners])
    if not scheme.is_static:
        matrix = writer.operator("Transpose", [writer.constant_once(name, rows)], f"{output}/matrix", perm=[1, 0])
        writer.operator("MatMul", [source, matrix], output)
        return
    scale = np.concatenate([writer.weights[f"{owner}_scale"] for owner in owners])
    matrix = writer.operator(
        "DequantizeLinear",
        [
            writer.constant(f"{name}/integers", np.ascontiguousarray(rows.T)),
            writer.constant(f"{name}/scale", scale),
            writer.constant(f"{name}/zero_point", np.zeros(scale.shape, np.int8)),
        ],
        name,
        axis=1,
    )
    writer.operator("MatMul", [source, matrix], output)


def _portable_matrix(writer: "Writer", pack: Pack) -> str:
    """Return the name of weights in groups as floats `(in, out)`, by operators of ONNX alone."""
    first = pack.members[0]
    if not first.tied_to:
        return writer.grouped_matrix(pack.weight, pack.owners, first.precision.weights.bits)
    rows = writer.operator(
        "DequantizeLinear",
        writer.grouped_rows(pack.weight),
        f"{pack.name}/rows",
        axis=1,
        block_size=first.precision.group,
    )
    return writer.operator("Transpose", [rows], f"{pack.name}/matrix", perm=[1, 0])


def stored_weights(graph: Graph, stored: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the weights of all projections of a lowered graph from the constants of its model.

    Args:
        graph: The network.
        stored: Initializers of the ONNX model by name.

    Raises:
        KeyError: If one is missing.
    """
    found: dict[str, NDArray[Any]] = {}
    by_member = packs(graph)
    for node in (node for node in graph.nodes if isinstance(node, Project)):
        pack = by_member.get(node.name) or Pack((node,))
        members, owners, name = pack.members, pack.owners, pack.weight
        if members[0] is not node:
            continue
        scheme, ends = node.precision, np.cumsum([each.shape[-1] for each in members])[:-1]
        if scheme.is_grouped:
            shape = (sum(each.shape[-1] for each in members), node.in_features)
            rows = unpack_codes(stored[f"{name}/packed"], scheme.weights.bits, shape)
            scales = stored[f"{name}/scale"].reshape(shape[0], -1)
        elif scheme.is_static:
            rows, scales = stored[f"{name}/integers"].T, stored[f"{name}/scale"]
        else:
            rows, scales = stored[name], None
        found |= dict(zip(owners, np.split(rows, ends), strict=True))
        if scales is not None:
            found |= {f"{o}_scale": s for o, s in zip(owners, np.split(scales, ends), strict=True)}
    return found
