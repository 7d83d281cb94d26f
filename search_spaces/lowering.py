"""Graph to ONNX: the same lowering serves for measuring (random weights) and for shipping (trained ones).

Quantizers become QuantizeLinear -> (Clip on the uint8 tensor, below 8 bits) -> DequantizeLinear, the form that onnxruntime
fuses into integer kernels; see docs/decisions/0002-quantizer-placement.md for what was measured. Operators
write themselves.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper

from search_spaces.errors import InvalidInputError
from search_spaces.graph.graph import Graph, consumers
from search_spaces.graph.node import Node, Weights, WeightSpec
from search_spaces.graph.tensor import TensorSpec
from search_spaces.operators.project import packs
from search_spaces.operators.quantize import Quantize
from search_spaces.precision.grouped import pack_codes

# onnx 1.23 writes IR 14 and opset 28 by default, which onnxruntime 1.31 refuses.
IR_VERSION = 10
OPSET = 21
IR_VERSION_OF_NEWER = 11  # of opset 23
CONTRIB = "com.microsoft"
AXES = ("tokens", "kept")
"""Names of the axes of new tokens and of kept ones, of a model that takes any number of both."""
LENGTHS = ("seqlens_k", "total_sequence_length")
"""Inputs of such a model, as of GroupQueryAttention: how many tokens there are, less one, and how many."""


def lengths_of(total: int) -> dict[str, NDArray[np.int32]]:
    """Return what a model that takes any number of tokens is given for `LENGTHS` where there are so many."""
    return {name: np.array([n], np.int32) for name, n in zip(LENGTHS, (total - 1, total), strict=True)}


def lower(
    graph: Graph,
    weights: Weights | None = None,
    *,
    batch: int | str = 1,
    int4: bool = False,
    sequence: Sequence[str] = (),
    portable: bool = False,
) -> onnx.ModelProto:
    """Return the network as an ONNX model in QDQ form.

    Args:
        graph: The network, or one block.
        weights: Arrays by `NODE/ROLE`, for every deployed tensor that the operators declare by `Node.weights`. A quantized
            one in a block of integers is int8 in the narrow range, with `NODE/weight_scale` of shape `(out,)`, equal
            throughout if the block has one scale a weight; its bias is int32. In groups it is int8 in the whole range, the
            scale `(out, in / group)` and of any sign. All else is float32. None: random ones.
        batch: Size of the batch axis, or a name for it when it is to be dynamic.
        int4: Whether weights of up to 4 bits are stored two a byte. onnxruntime widens them when it opens the file, so that
            it computes the same at the same speed.
        sequence: Names of the axes of new tokens and of kept ones, where the model is to take any number of both; it takes
            `LENGTHS` then. None: as many as the graph says.
        portable: Whether operators of ONNX alone are written, none of onnxruntime's own: weights in groups get a
            DequantizeLinear, activations that kernels round at run time stay float32, and what is kept comes back longer by
            the new tokens, in the place of a buffer and its two lengths. Such a model has names of axes and a batch of one.

    Returns:
        A checked model that takes `(batch, *shape)` for each of `graph.inputs`, and what operators keep between calls.

    Raises:
        KeyError: If an array is missing.
        InvalidInputError: If a block computes in a minifloat, for which there are no kernels, or a portable model that keeps
            something has no names of axes or another batch than one.
    """
    if refused := sorted({node.precision.name for node in graph.nodes if node.precision.is_minifloat}):
        names = ", ".join(refused)
        raise InvalidInputError(
            f"onnxruntime has no kernels for {names}: such networks can be trained, not measured or exported"
        )
    states = [state for node in graph.nodes for state in node.states]
    if portable and states and not (sequence and batch == 1):
        raise InvalidInputError(
            "a portable model takes one text and any number of tokens: give it a `sequence` and a batch of 1"
        )
    weights = random_weights(graph, np.random.default_rng(0)) if weights is None else weights
    writer = Writer(graph, weights, int4=int4, takes_lengths=bool(sequence), portable=portable)
    for node in graph.nodes:
        node.emit(writer)
    axes = dict(zip(AXES, sequence, strict=True)) if sequence else {}
    given = [_named(_tensor_info(t, batch), 1, axes.get("tokens")) for node in graph.inputs for t in node.outputs]
    kept = [_named(_tensor_info(state, batch), 2, axes.get("kept")) for state in states]
    axis = f"{axes['kept']}_and_{axes['tokens']}" if portable and axes else axes.get("kept")
    present = [_named(_tensor_info(replace(s, name=f"{s.name}/present"), batch), 2, axis) for s in states]
    model = helper.make_model(
        helper.make_graph(
            writer.operators,
            "hwnas",
            [*given, *kept, *writer.inputs],
            [*(_tensor_info(tensor, batch) for node in graph.outputs for tensor in node.outputs), *present],
            writer.initializers,
        ),
        opset_imports=[helper.make_opsetid("", writer.opset), *writer.domains],
        ir_version=IR_VERSION if writer.opset <= OPSET else IR_VERSION_OF_NEWER,
        producer_name="hwnas",
    )
    onnx.checker.check_model(model)
    return model


def _named(tensor: onnx.ValueInfoProto, axis: int, name: str | None) -> onnx.ValueInfoProto:
    """Return a tensor, one axis of which has a name in the place of its length if there is one."""
    if name:
        tensor.type.tensor_type.shape.dim[axis].dim_param = name
    return tensor


def of_any_size(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of a model that takes any height and width.

    It is right where every operator takes any size, as convolutions do; one with a linear layer on pixels does not run.
    """
    free = onnx.ModelProto()
    free.CopyFrom(model)
    for tensor, words in ((free.graph.input, ("height", "width")), (free.graph.output, ("out_height", "out_width"))):
        for each in tensor:
            axes = each.type.tensor_type.shape.dim
            for axis, word in zip(axes[-2:], words, strict=True):
                axis.dim_param = word
    return free


def random_weights(graph: Graph, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """Return weights that keep activations at a magnitude of one: how long a network takes must not depend on them."""
    weights: dict[str, NDArray[Any]] = {}
    names = {node.name for node in graph.nodes}
    for node in graph.nodes:
        if isinstance(node, Quantize) and node.shares:
            weights |= {f"{node.name}/{spec.role}": weights[f"{node.shares}/{spec.role}"] for spec in node.weights()}
            continue
        if isinstance(node, Quantize):
            weights[f"{node.name}/scale"] = np.float32(4 / node.format.qmax) * np.ones((), np.float32)
            if node.format.asymmetric:
                weights[f"{node.name}/zero_point"] = np.asarray((node.format.n_levels - 1) // 2, np.uint8)
            continue
        for spec in node.weights():
            if not spec.folded and spec.shared_with not in names:  # of a block alone the other one may be elsewhere
                weights |= _random(node, spec, rng)
    return weights


def _random(node: Node, spec: WeightSpec, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """Return the arrays of one tensor of an operator."""
    name, in_integers = f"{spec.shared_with or node.name}/{spec.role}", has_integer_weights(node)
    if spec.init == "given":
        return {name: np.full(spec.shape, 0.3 if spec.role == "std" else 0.5, np.float32)}
    if spec.init == "ones":
        return {name: rng.uniform(0.5, 1.5, spec.shape).astype(np.float32)}
    if not spec.quantized:
        bias = rng.integers(-100, 101, spec.shape) if in_integers else rng.normal(0, 0.1, spec.shape)
        return {name: bias.astype(np.int32 if in_integers else np.float32)}
    deviation = np.sqrt(2 / np.prod(spec.shape[1:]))
    if not in_integers:
        return {name: rng.normal(0, deviation, spec.shape).astype(np.float32)}
    qmax = node.precision.weights.qmax
    integers = rng.integers(-qmax, qmax + 1, spec.shape).astype(np.int8)
    shape = (spec.shape[0], spec.shape[1] // node.precision.group) if node.precision.is_grouped else spec.shape[:1]
    return {name: integers, f"{name}_scale": np.full(shape, 1.7 * deviation / qmax, np.float32)}


class Writer:
    """The ONNX operators and initializers written so far.

    Args:
        graph: The network that is lowered.
        weights: Its arrays.
        int4: See `lower`.
        takes_lengths: Whether how many tokens there are is an input.
        portable: See `lower`.
    """

    def __init__(
        self, graph: Graph, weights: Weights, *, int4: bool, takes_lengths: bool = False, portable: bool = False
    ) -> None:
        self.graph = graph
        self.weights = weights
        self.int4 = int4
        self.portable = portable
        self.operators: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.consumers_of = consumers(graph.nodes)
        self.packs = packs(graph)
        self.opset = OPSET
        self.inputs: list[onnx.ValueInfoProto] = []
        self.domains: list[onnx.OperatorSetIdProto] = []
        self._takes_lengths = takes_lengths
        self._written: set[str] = set()

    def constant(self, name: str, value: ArrayLike) -> str:
        """Write a constant and return its name."""
        self.initializers.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def constant_once(self, name: str, value: ArrayLike) -> str:
        """Write a constant that several operators share, the first time it is asked for, and return its name."""
        if self.is_first(name):
            self.constant(name, value)
        return name

    def contrib(self, kind: str, inputs: Sequence[str], output: str, *, more: Sequence[str] = (), **attributes: Any) -> str:
        """Write an operator of onnxruntime's own, which may give more than one tensor, and return the first one's name."""
        if not self.domains:
            self.domains.append(helper.make_opsetid(CONTRIB, 1))
        named = {"name": f"{output}:{kind}", "domain": CONTRIB}
        self.operators.append(helper.make_node(kind, inputs, [output, *more], **named, **attributes))
        return output

    def grouped_weight(self, name: str, owners: Sequence[str], bits: int) -> tuple[str, str]:
        """Write the rows of weights in groups, packed, once; return the names of codes and scales.

        Codes have shape `(out, in / group, group * bits / 8)`, scales `(out, in / group)`.

        Args:
            name: Begins both names.
            owners: Names of the weights, whose rows lie behind one another.
            bits: Of a code.
        """
        packed, scale = f"{name}/packed", f"{name}/scale"
        if self.is_first(name):
            codes = np.concatenate([self.weights[owner] for owner in owners])
            scales = np.concatenate([self.weights[f"{owner}_scale"] for owner in owners])
            self.constant(packed, pack_codes(codes, bits, codes.shape[1] // scales.shape[1]))
            self.constant(scale, scales.astype(np.float32))
        return packed, scale

    def grouped_rows(self, owner: str) -> tuple[str, str]:
        """Write weights in groups as int8, once; return the names of integers `(out, in)` and scales `(out, in / group)`."""
        return (
            self.constant_once(f"{owner}/integers", self.weights[owner]),
            self.constant_once(f"{owner}/scale", self.weights[f"{owner}_scale"].astype(np.float32)),
        )

    def grouped_matrix(self, name: str, owners: Sequence[str], bits: int) -> str:
        """Return the name of weights in groups, whose rows lie behind one another, as floats `(in, out)`.

        Those of up to 4 bits are stored two a byte.
        """
        codes = np.concatenate([self.weights[owner] for owner in owners]).T
        scales = np.concatenate([self.weights[f"{owner}_scale"] for owner in owners]).T
        if bits > 4:
            self.constant(f"{name}/integers", np.ascontiguousarray(codes))
        else:
            nibbles = codes.reshape(-1, 2).astype(np.uint8) & 0xF
            packed = (nibbles[:, 0] | nibbles[:, 1] << 4).astype(np.uint8).tobytes()
            self.initializers.append(helper.make_tensor(f"{name}/integers", TensorProto.INT4, codes.shape, packed, raw=True))
        self.constant(f"{name}/scale", np.ascontiguousarray(scales, np.float32))
        taken = [f"{name}/integers", f"{name}/scale"]
        return self.operator("DequantizeLinear", taken, name, axis=0, block_size=len(codes) // len(scales))

    def lengths(self, source: str, total: int) -> tuple[str, str]:
        """Return the names of how many tokens there are, less one, for each sample, and of how many there are.

        They are inputs of a model that takes any number, otherwise constants.

        Args:
            source: A tensor of as many samples.
            total: Tokens.
        """
        if self._takes_lengths:
            if not self.inputs:
                self.inputs += [helper.make_tensor_value_info(name, TensorProto.INT32, [1]) for name in LENGTHS]
            return LENGTHS
        last = f"{LENGTHS[0]}/{total}"
        if self.is_first(last):
            n_samples = self.operator("Shape", [source], f"{last}/samples", start=0, end=1)
            self.operator(
                "ConstantOfShape", [n_samples], last, value=helper.make_tensor("", TensorProto.INT32, [1], [total - 1])
            )
        return last, self.constant_once(f"{LENGTHS[1]}/{total}", np.array([total], np.int32))

    def tensor(self, tensor: onnx.TensorProto, name: str) -> str:
        """Write a constant as it is, under another name, and return that."""
        self.initializers.append(onnx.TensorProto())
        self.initializers[-1].CopyFrom(tensor)
        self.initializers[-1].name = name
        return name

    def require_opset(self, version: int) -> None:
        """Write the model in this version of ONNX at least."""
        self.opset = max(self.opset, version)

    def operator(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Write an ONNX operator and return the name of its result."""
        self.operators.append(helper.make_node(kind, inputs, [output], name=f"{output}:{kind}", **attributes))
        return output

    def several(self, kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        """Write an ONNX operator that gives more than one tensor."""
        self.operators.append(helper.make_node(kind, inputs, outputs, name=f"{outputs[0]}:{kind}", **attributes))

    def is_first(self, name: str) -> bool:
        """Return whether what operators share is asked for the first time."""
        is_first = name not in self._written
        self._written.add(name)
        return is_first

    def int4_constant(self, name: str, integers: NDArray[Any]) -> str:
        """Return the name of integers of -8 to 7 that are stored two a byte: a Cast, which onnxruntime computes once.

        A DequantizeLinear of the INT4 tensor itself would leave it no integer kernel.
        """
        self.initializers.append(helper.make_tensor(f"{name}/int4", TensorProto.INT4, integers.shape, integers.ravel()))
        return self.operator("Cast", [f"{name}/int4"], name, to=TensorProto.INT8)

    def dequantize_constant(self, name: str, integers: NDArray[Any], scale: NDArray[Any], *, int4: bool = False) -> str:
        """Return the name of integers turned into floats, with a scale for each index of the first axis or of shape `()`."""
        store = self.int4_constant if int4 else self.constant
        inputs = [
            store(f"{name}/integers", integers),
            self.constant(f"{name}/scale", scale),
            self.constant(f"{name}/zero_point", np.zeros(scale.shape, integers.dtype)),
        ]
        return self.operator("DequantizeLinear", inputs, name, **({"axis": 0} if scale.ndim else {}))

    def rearranged(self, source: str, name: str, *steps: tuple[str, dict[str, Any]]) -> str:
        """Return the name of a tensor whose axes were rearranged.

        Of a quantized tensor the integers are rearranged, not the floats: anything between DequantizeLinear and the operator
        that computes would keep it from computing in integers.

        Args:
            source: The tensor.
            name: Begins the names of what is written.
            steps: Operators without weights, with their attributes.
        """
        is_quantized = isinstance(self.graph[source], Quantize)
        tensor = f"{source}/integers" if is_quantized else source
        for kind, attributes in steps:
            inputs = [tensor]
            if kind == "Reshape":
                inputs.append(self.constant(f"{name}/shape", np.array(attributes["shape"])))
                attributes = {}
            tensor = self.operator(kind, inputs, f"{name}/{kind.lower()}", **attributes)
        if is_quantized:
            scale = [f"{source}/scale", f"{source}/zero_point"]
            return self.operator("DequantizeLinear", [tensor, *scale], f"{name}/floats")
        return tensor

    def weight(self, node: Node, owner: str = "") -> str:
        """Return the name of the quantized tensor `weight` of an operator as floats; integers get a DequantizeLinear.

        Args:
            node: The operator.
            owner: Name of the operator whose tensor it is, where they are tied; it is written once.
        """
        name = f"{owner or node.name}/weight"
        if not self.is_first(name):
            return name
        if not has_integer_weights(node):
            return self.constant(name, self.weights[name])
        return self.dequantize_constant(name, self.weights[name], self._scale(node, name), int4=self.int4 and is_int4(node))

    def weight_and_bias(self, node: Node) -> list[str]:
        """Return the names of weight and bias as floats; a bias of integers is int32 at the scale of input times weight."""
        weight, bias = self.weight(node), f"{node.name}/bias"
        if not has_integer_weights(node):
            return [weight, self.constant(bias, self.weights[bias])]
        bias_scale = np.float32(self.weights[f"{node.inputs[0]}/scale"]) * self._scale(node, weight)
        return [weight, self.dequantize_constant(bias, self.weights[bias], bias_scale)]

    def _scale(self, node: Node, name: str) -> NDArray[Any]:
        scale = self.weights[f"{name}_scale"]
        return scale if node.precision.per_channel else np.asarray(scale[0])


def has_integer_weights(node: Node) -> bool:
    """Return True if an operator holds tensors in integers."""
    return node.precision.weights.is_integer and any(spec.quantized for spec in node.weights())


def is_int4(node: Node) -> bool:
    """Return True if the weight of an operator fits the INT4 tensors of ONNX."""
    return has_integer_weights(node) and node.precision.is_static and node.precision.weights.bits <= 4


def _tensor_info(tensor: TensorSpec, batch: int | str) -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype))
    return helper.make_tensor_value_info(tensor.name, kind, [batch, *tensor.shape] if tensor.batched else tensor.shape)
