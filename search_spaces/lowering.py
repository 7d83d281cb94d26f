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

from search_spaces.graph import (
    Add,
    Conv,
    GlobalAveragePool,
    Graph,
    Input,
    Linear,
    Node,
    Normalize,
    Output,
    Quantize,
    Relu,
)

Weights = Mapping[str, NDArray[Any]]

# onnx 1.23 writes IR 14 and opset 28 by default, which onnxruntime 1.31 refuses.
IR_VERSION = 10
OPSET = 21


def lower(graph: Graph, weights: Weights | None = None, *, batch: int | str = 1) -> onnx.ModelProto:
    """Return the network as an ONNX model in QDQ form.

    Args:
        graph: The network, or one block.
        weights: Arrays named after the nodes. `Conv` and `Linear`: `NAME/weight` (float32, or int8 in the narrow range),
            `NAME/bias` (float32, or int32), and for integers `NAME/weight_scale`, shape `(out,)`. `Quantize`: `NAME/scale`,
            shape `()`. `Normalize`: `NAME/mean` and `NAME/std`, shape `(channels,)`. None: random ones.
        batch: Size of the batch axis, or a name for it when it is to be dynamic.

    Returns:
        A checked model that takes float32 of shape `(batch, *graph.input_shape)`.

    Raises:
        KeyError: If an array is missing.
    """
    weights = random_weights(graph, np.random.default_rng(0)) if weights is None else weights
    lowering = _Lowering(graph, weights)
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
            if node.precision.is_float:
                weights[f"{node.name}/weight"] = rng.normal(0, deviation, shape).astype(np.float32)
                weights[f"{node.name}/bias"] = rng.normal(0, 0.1, n_out).astype(np.float32)
            else:
                high = node.precision.weights.high
                weights[f"{node.name}/weight"] = rng.integers(-high, high + 1, shape).astype(np.int8)
                weights[f"{node.name}/weight_scale"] = np.full(n_out, 1.7 * deviation / high, np.float32)
                weights[f"{node.name}/bias"] = rng.integers(-100, 101, n_out).astype(np.int32)
        elif isinstance(node, Quantize):
            weights[f"{node.name}/scale"] = np.float32(4 / node.format.high) * np.ones((), np.float32)
        elif isinstance(node, Normalize):
            weights[f"{node.name}/mean"] = np.full(node.shape[0], 0.5, np.float32)
            weights[f"{node.name}/std"] = np.full(node.shape[0], 0.3, np.float32)
    return weights


class _Lowering:
    """The ONNX operators and initializers written so far."""

    def __init__(self, graph: Graph, weights: Weights) -> None:
        self.graph = graph
        self.weights = weights
        self.operators: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def constant(self, name: str, value: ArrayLike) -> str:
        self.initializers.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def operator(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.operators.append(helper.make_node(kind, inputs, [output], name=f"{output}:{kind}", **attributes))
        return output

    def dequantize_constant(self, name: str, integers: NDArray[Any], scale: NDArray[Any]) -> str:
        """Return the name of per-channel integers turned into floats."""
        inputs = [
            self.constant(f"{name}/integers", integers),
            self.constant(f"{name}/scale", scale),
            self.constant(f"{name}/zero_point", np.zeros(len(scale), integers.dtype)),
        ]
        return self.operator("DequantizeLinear", inputs, name, axis=0)

    def weight_and_bias(self, node: Conv | Linear) -> list[str]:
        """Return the names of weight and bias as floats; integers get a DequantizeLinear."""
        weight, bias = self.weights[f"{node.name}/weight"], self.weights[f"{node.name}/bias"]
        if node.precision.is_float:
            return [self.constant(f"{node.name}/weight", weight), self.constant(f"{node.name}/bias", bias)]
        weight_scale = self.weights[f"{node.name}/weight_scale"]
        bias_scale = np.float32(self.weights[f"{node.inputs[0]}/scale"]) * weight_scale
        return [
            self.dequantize_constant(f"{node.name}/weight", weight, weight_scale),
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
    source = lowering.graph[node.inputs[0]]
    if isinstance(source, Quantize):
        # The integers are flattened, not the floats: a quantizer between the two would not be fused away.
        flat = lowering.operator("Flatten", [f"{source.name}/integers"], f"{node.name}/integers")
        scale = [f"{source.name}/scale", f"{source.name}/zero_point"]
        flat = lowering.operator("DequantizeLinear", [flat, *scale], f"{node.name}/flat")
    else:
        flat = lowering.operator("Flatten", [source.name], f"{node.name}/flat")
    lowering.operator("Gemm", [flat, *lowering.weight_and_bias(node)], node.name, transB=1)


@_emit.register
def _(node: Relu, lowering: _Lowering) -> None:
    lowering.operator("Relu", node.inputs, node.name)


@_emit.register
def _(node: Add, lowering: _Lowering) -> None:
    lowering.operator("Add", node.inputs, node.name)


@_emit.register
def _(node: GlobalAveragePool, lowering: _Lowering) -> None:
    lowering.operator("GlobalAveragePool", node.inputs, node.name)


@_emit.register
def _(node: Output, lowering: _Lowering) -> None:
    """Rename the operator before, so that the output costs nothing and bears the name of the node."""
    lowering.operators[-1].output[0] = node.name


@_emit.register
def _(node: Quantize, lowering: _Lowering) -> None:
    scale = lowering.constant(f"{node.name}/scale", np.float32(lowering.weights[f"{node.name}/scale"]))
    zero_point = lowering.constant(f"{node.name}/zero_point", np.uint8(node.format.zero_point))
    integers = f"{node.name}/integers"
    if node.format.bits == 8:
        lowering.operator("QuantizeLinear", [node.inputs[0], scale, zero_point], integers)
    else:
        wide = lowering.operator("QuantizeLinear", [node.inputs[0], scale, zero_point], f"{node.name}/wide")
        low = lowering.constant(f"{node.name}/low", np.uint8(node.format.zero_point + node.format.low))
        high = lowering.constant(f"{node.name}/high", np.uint8(node.format.zero_point + node.format.high))
        lowering.operator("Clip", [wide, low, high], integers)
    lowering.operator("DequantizeLinear", [integers, scale, zero_point], node.name)


def _tensor_info(node: Node, batch: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(node.name, TensorProto.FLOAT, [batch, *node.shape])
