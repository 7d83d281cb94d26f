"""Graph to ONNX: the same lowering serves for measuring (random weights) and for shipping (trained ones).

Quantizers become QuantizeLinear -> (Clip on the uint8 tensor, below 8 bits) -> DequantizeLinear, the form that onnxruntime
fuses into integer kernels; see docs/decisions/0002-quantizer-placement.md for what was measured.
"""

from collections.abc import Mapping, Sequence
from functools import singledispatch
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper

from search_spaces.errors import InvalidInput
from search_spaces.graph.graph import Graph
from search_spaces.graph.node import Node
from search_spaces.operators.attention import AttentionScores, AttentionValues, Softmax
from search_spaces.operators.conv import Conv
from search_spaces.operators.elementwise import Add, HardSigmoid, HardSwish, Multiply, Relu
from search_spaces.operators.ends import Input, Output
from search_spaces.operators.linear import Linear
from search_spaces.operators.norm import Normalize
from search_spaces.operators.pool import GlobalAveragePool
from search_spaces.operators.quantize import Quantize
from search_spaces.operators.resize import Resize

Weights = Mapping[str, NDArray[Any]]

# onnx 1.23 writes IR 14 and opset 28 by default, which onnxruntime 1.31 refuses.
IR_VERSION = 10
OPSET = 21


def lower(graph: Graph, weights: Weights | None = None, *, batch: int | str = 1, int4: bool = False) -> onnx.ModelProto:
    """Return the network as an ONNX model in QDQ form.

    Args:
        graph: The network, or one block.
        weights: Arrays named after the nodes. `Conv` and `Linear`: `NAME/weight` (float32, or int8 in the narrow range),
            `NAME/bias` (float32, or int32), and for integers `NAME/weight_scale`, shape `(out,)`, equal throughout if the
            block has one scale a weight. `Quantize`: `NAME/scale`, shape `()`, and `NAME/zero_point` (uint8) if asymmetric.
            `Normalize`: `NAME/mean` and `NAME/std`, shape `(channels,)`. None: random ones.
        batch: Size of the batch axis, or a name for it when it is to be dynamic.
        int4: Whether weights of up to 4 bits are stored two a byte. onnxruntime widens them when it opens the file, so that
            it computes the same at the same speed.

    Returns:
        A checked model that takes float32 of shape `(batch, *graph.input_shape)`.

    Raises:
        KeyError: If an array is missing.
        InvalidInput: If a block computes in a minifloat, for which there are no kernels.
    """
    if refused := sorted({node.precision.name for node in graph.nodes if node.precision.is_minifloat}):
        names = ", ".join(refused)
        raise InvalidInput(f"onnxruntime has no kernels for {names}: such networks can be trained, not measured or exported")
    weights = random_weights(graph, np.random.default_rng(0)) if weights is None else weights
    lowering = _Lowering(graph, weights, int4=int4)
    for node in graph.nodes:
        _emit(node, lowering)
    model = helper.make_model(
        helper.make_graph(
            lowering.operators,
            "hwnas",
            [_tensor_info(graph.nodes[0], batch)],
            [_tensor_info(graph.output, batch)],
            lowering.initializers,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="hwnas",
    )
    onnx.checker.check_model(model)
    return model


def random_weights(graph: Graph, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """Return weights that keep activations at a magnitude of one: how long a network takes must not depend on them."""
    weights: dict[str, NDArray[Any]] = {}
    for node in graph.nodes:
        if isinstance(node, Conv | Linear):
            shape, n_out = node.weight_shape, node.shape[0]
            deviation = np.sqrt(2 / np.prod(shape[1:]))
            if node.precision.is_float32:
                weights[f"{node.name}/weight"] = rng.normal(0, deviation, shape).astype(np.float32)
                weights[f"{node.name}/bias"] = rng.normal(0, 0.1, n_out).astype(np.float32)
            else:
                qmax = node.precision.weights.qmax
                weights[f"{node.name}/weight"] = rng.integers(-qmax, qmax + 1, shape).astype(np.int8)
                weights[f"{node.name}/weight_scale"] = np.full(n_out, 1.7 * deviation / qmax, np.float32)
                weights[f"{node.name}/bias"] = rng.integers(-100, 101, n_out).astype(np.int32)
        elif isinstance(node, Quantize):
            weights[f"{node.name}/scale"] = np.float32(4 / node.format.qmax) * np.ones((), np.float32)
            if node.format.asymmetric:
                weights[f"{node.name}/zero_point"] = np.asarray((node.format.n_levels - 1) // 2, np.uint8)
        elif isinstance(node, Normalize):
            weights[f"{node.name}/mean"] = np.full(node.shape[0], 0.5, np.float32)
            weights[f"{node.name}/std"] = np.full(node.shape[0], 0.3, np.float32)
    return weights


class _Lowering:
    """The ONNX operators and initializers written so far."""

    def __init__(self, graph: Graph, weights: Weights, *, int4: bool) -> None:
        self.graph = graph
        self.weights = weights
        self.int4 = int4
        self.operators: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def constant(self, name: str, value: ArrayLike) -> str:
        self.initializers.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def operator(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.operators.append(helper.make_node(kind, inputs, [output], name=f"{output}:{kind}", **attributes))
        return output

    def int4_constant(self, name: str, integers: NDArray[Any]) -> str:
        """Return the name of integers of -8 to 7 that are stored two a byte: a Cast, which onnxruntime computes once.

        A DequantizeLinear of the INT4 tensor itself would leave it no integer kernel.
        """
        self.initializers.append(helper.make_tensor(f"{name}/int4", TensorProto.INT4, integers.shape, integers.ravel()))
        return self.operator("Cast", [f"{name}/int4"], name, to=TensorProto.INT8)

    def dequantize_constant(self, name: str, integers: NDArray[Any], scale: NDArray[Any], *, int4: bool = False) -> str:
        """Return the name of integers turned into floats, with a scale for each channel or of shape `()`."""
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

    def weight_and_bias(self, node: Conv | Linear) -> list[str]:
        """Return the names of weight and bias as floats; integers get a DequantizeLinear."""
        weight, bias = self.weights[f"{node.name}/weight"], self.weights[f"{node.name}/bias"]
        if node.precision.is_float32:
            return [self.constant(f"{node.name}/weight", weight), self.constant(f"{node.name}/bias", bias)]
        weight_scale = self.weights[f"{node.name}/weight_scale"]
        weight_scale = weight_scale if node.precision.per_channel else weight_scale[0]
        bias_scale = np.float32(self.weights[f"{node.inputs[0]}/scale"]) * weight_scale
        return [
            self.dequantize_constant(f"{node.name}/weight", weight, weight_scale, int4=self.int4 and is_int4(node)),
            self.dequantize_constant(f"{node.name}/bias", bias, bias_scale),
        ]


@singledispatch
def _emit(node: Node, lowering: _Lowering) -> None:
    """Write the ONNX operators of one node."""
    raise TypeError(f"no lowering for {type(node).__name__}")


@_emit.register
def _(node: Input, lowering: _Lowering) -> None:
    pass


@_emit.register
def _(node: Normalize, lowering: _Lowering) -> None:
    mean = lowering.weights[f"{node.name}/mean"].reshape(-1, 1, 1)
    std = lowering.weights[f"{node.name}/std"].reshape(-1, 1, 1)
    centred = lowering.operator(
        "Sub", [node.inputs[0], lowering.constant(f"{node.name}/mean", mean)], f"{node.name}/centred"
    )
    lowering.operator("Div", [centred, lowering.constant(f"{node.name}/std", std)], node.name)


@_emit.register
def _(node: Conv, lowering: _Lowering) -> None:
    """`same` padding as torch pads: kernel // 2 on every side, which onnx calls explicit pads."""
    lowering.operator(
        "Conv",
        [node.inputs[0], *lowering.weight_and_bias(node)],
        node.name,
        kernel_shape=[node.kernel] * 2,
        strides=[node.stride] * 2,
        pads=[node.kernel // 2] * 4,
        group=node.groups,
    )


@_emit.register
def _(node: Linear, lowering: _Lowering) -> None:
    flat = lowering.rearranged(node.inputs[0], f"{node.name}/input", ("Flatten", {}))
    lowering.operator("Gemm", [flat, *lowering.weight_and_bias(node)], node.name, transB=1)


@_emit.register
def _(node: Relu, lowering: _Lowering) -> None:
    lowering.operator("Relu", node.inputs, node.name)


@_emit.register
def _(node: HardSigmoid, lowering: _Lowering) -> None:
    lowering.operator("HardSigmoid", node.inputs, node.name, alpha=1 / 6, beta=0.5)


@_emit.register(Add)
@_emit.register(GlobalAveragePool)
@_emit.register(HardSwish)
def _(node: Node, lowering: _Lowering) -> None:
    lowering.operator(type(node).__name__, node.inputs, node.name)


@_emit.register
def _(node: Multiply, lowering: _Lowering) -> None:
    lowering.operator("Mul", node.inputs, node.name)


@_emit.register
def _(node: Softmax, lowering: _Lowering) -> None:
    """The multiplication keeps onnxruntime from fusing its QLinearSoftmax, which is a step too low for some percent."""
    factor = lowering.constant(f"{node.name}/factor", np.float32(node.factor))
    multiplied = lowering.operator("Mul", [node.inputs[0], factor], f"{node.name}/multiplied")
    lowering.operator("Softmax", [multiplied], node.name, axis=-1)


@_emit.register
def _(node: AttentionScores, lowering: _Lowering) -> None:
    heads, tokens, _ = node.shape
    split = ("Reshape", {"shape": [0, heads, node.depth, tokens]})
    queries = lowering.rearranged(node.inputs[0], f"{node.name}/queries", split, ("Transpose", {"perm": [0, 1, 3, 2]}))
    keys = lowering.rearranged(node.inputs[1], f"{node.name}/keys", split)
    lowering.operator("MatMul", [queries, keys], node.name)


@_emit.register
def _(node: AttentionValues, lowering: _Lowering) -> None:
    channels, height, width = node.shape
    heads = lowering.graph[node.inputs[0]].shape[0]
    weights = lowering.rearranged(node.inputs[0], f"{node.name}/weights", ("Transpose", {"perm": [0, 1, 3, 2]}))
    split = ("Reshape", {"shape": [0, heads, channels // heads, height * width]})
    values = lowering.rearranged(node.inputs[1], f"{node.name}/values", split)
    product = lowering.operator("MatMul", [values, weights], f"{node.name}/product")
    shape = lowering.constant(f"{node.name}/shape", np.array([0, channels, height, width]))
    lowering.operator("Reshape", [product, shape], node.name)


@_emit.register
def _(node: Resize, lowering: _Lowering) -> None:
    sizes = lowering.constant(f"{node.name}/sizes", np.array(node.shape[1:]))
    settings = {"axes": [2, 3], "mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    lowering.operator("Resize", [node.inputs[0], "", "", sizes], node.name, **settings)


@_emit.register
def _(node: Output, lowering: _Lowering) -> None:
    """Rename the operator before, so that the output costs nothing and bears the name of the node."""
    lowering.operators[-1].output[0] = node.name


@_emit.register
def _(node: Quantize, lowering: _Lowering) -> None:
    scale = lowering.constant(f"{node.name}/scale", np.float32(lowering.weights[f"{node.name}/scale"]))
    zero_point = lowering.constant(f"{node.name}/zero_point", np.uint8(zero_point_of(node, lowering.weights)))
    integers = f"{node.name}/integers"
    if node.format.bits == 8:
        lowering.operator("QuantizeLinear", [node.inputs[0], scale, zero_point], integers)
    else:
        wide = lowering.operator("QuantizeLinear", [node.inputs[0], scale, zero_point], f"{node.name}/wide")
        qmin, qmax = bounds(node, lowering.weights)
        low = lowering.constant(f"{node.name}/low", np.uint8(zero_point_of(node, lowering.weights) + qmin))
        high = lowering.constant(f"{node.name}/high", np.uint8(zero_point_of(node, lowering.weights) + qmax))
        lowering.operator("Clip", [wide, low, high], integers)
    lowering.operator("DequantizeLinear", [integers, scale, zero_point], node.name)


def is_int4(node: Conv | Linear) -> bool:
    """Return whether the weight of a layer fits the INT4 tensors of ONNX."""
    return node.precision.is_integer and node.precision.weights.bits <= 4


def zero_point_of(node: Quantize, weights: Mapping[str, Any]) -> int:
    """Return what stands for zero in the uint8 container of a quantized tensor."""
    return int(weights[f"{node.name}/zero_point"]) if node.format.asymmetric else node.format.zero_point


def bounds(node: Quantize, weights: Mapping[str, Any]) -> tuple[int, int]:
    """Return the least and the greatest integer of a quantized tensor, around zero."""
    if node.format.asymmetric:
        zero_point = zero_point_of(node, weights)
        return -zero_point, node.format.n_levels - 1 - zero_point
    return node.format.qmin, node.format.qmax


def _tensor_info(node: Node, batch: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(node.name, TensorProto.FLOAT, [batch, *node.shape])
