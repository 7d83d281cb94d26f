"""A network in QONNX: float tensors between Quant operators, which say how many bits each has.

Source: Pappalardo et al. 2022, arXiv:2206.07527; operators of the package `qonnx`.
"""

from importlib.util import find_spec
from typing import Any
from unittest.mock import patch

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from search_spaces.errors import NotReadyError
from search_spaces.graph.graph import Graph
from search_spaces.graph.node import Weights
from search_spaces.operators.quantize import Quantize

DOMAIN = "qonnx.custom_op.general"


def to_qonnx(model: onnx.ModelProto, graph: Graph, weights: Weights) -> onnx.ModelProto:
    """Return a model in QDQ form as QONNX.

    QuantizeLinear and Clip become one Quant, DequantizeLinear of activations falls away, integer weights and biases become
    floats behind a Quant of their own.

    Args:
        model: As `search_spaces.lower` gives it.
        graph: What it was lowered from.
        weights: What it was lowered with.
    """
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    bits = {
        f"{node.name}/{spec.role}": node.precision.weights.bits
        for node in graph.nodes
        for spec in node.weights()
        if spec.quantized
    }
    quantizers = {f"{node.name}/integers": node for node in graph.nodes if isinstance(node, Quantize)}
    constants: dict[str, NDArray[Any]] = {}
    renamed: dict[str, str] = {}
    operators: list[onnx.NodeProto] = []
    for operator in model.graph.node:
        source, output = renamed.get(operator.input[0], operator.input[0]), operator.output[0]
        if operator.op_type == "QuantizeLinear":
            renamed[f"{output}:source"] = source
            if output in quantizers:
                operators.append(_activation(quantizers[output], source, output, stored, constants, weights))
        elif operator.op_type == "Clip" and output in quantizers:
            source = renamed[f"{operator.input[0]}:source"]
            operators.append(_activation(quantizers[output], source, output, stored, constants, weights))
        elif operator.op_type == "DequantizeLinear" and operator.input[0] in stored:
            operators.append(_constant(output, bits.get(output, 32), stored, constants))
        elif operator.op_type == "DequantizeLinear":
            renamed[output] = source
        else:
            kept = onnx.NodeProto()
            kept.CopyFrom(operator)
            kept.ClearField("input")
            kept.input.extend(renamed.get(name, name) for name in operator.input)
            operators.append(kept)
    used = {name for operator in operators for name in operator.input}
    constants |= {name: array for name, array in stored.items() if name in used and name not in constants}
    return helper.make_model(
        helper.make_graph(
            operators,
            "hwnas",
            list(model.graph.input),
            list(model.graph.output),
            [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
        ),
        opset_imports=[*model.opset_import, helper.make_opsetid(DOMAIN, 1)],
        ir_version=model.ir_version,
        producer_name="hwnas",
    )


def has_qonnx() -> bool:
    """Return whether the package `qonnx` is installed."""
    return find_spec("qonnx") is not None


def run_qonnx(model: onnx.ModelProto, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the outputs of a model by the executor of the package `qonnx`.

    It takes a quarter of a second to run a model, however many inputs there are, so a copy of the model takes all at once.

    Raises:
        NotReadyError: If the package is not installed.
    """
    try:
        from qonnx.core.modelwrapper import ModelWrapper
        from qonnx.core.onnx_exec import execute_onnx
        from qonnx.transformation.infer_shapes import InferShapes
    except ImportError as error:
        raise NotReadyError("qonnx is not installed; install it with `pip install 'hwnas[qonnx]'`") from error
    batched = onnx.ModelProto()
    batched.CopyFrom(model)
    taken, given = batched.graph.input[0], batched.graph.output[0]
    for tensor in (taken, given):
        tensor.type.tensor_type.shape.dim[0].dim_value = len(inputs)
    # It runs each operator as a model of the newest IR version that onnx knows, which onnxruntime may not know yet.
    with patch.object(onnx, "IR_VERSION", model.ir_version):
        wrapped = ModelWrapper(batched).transform(InferShapes())
        outputs: NDArray[np.float32] = execute_onnx(wrapped, {taken.name: inputs})[given.name]
    return outputs


def _activation(
    node: Quantize,
    source: str,
    output: str,
    stored: dict[str, NDArray[Any]],
    constants: dict[str, NDArray[Any]],
    weights: Weights,
) -> onnx.NodeProto:
    asymmetric, scale = node.format.asymmetric, stored[f"{node.name}/scale"]
    zero = node.zero_point(weights) if asymmetric else 0
    signed = node.format.signed and not asymmetric
    return _quant(source, output, scale, zero, node.format.bits, constants, signed=signed)


def _constant(output: str, bits: int, stored: dict[str, NDArray[Any]], constants: dict[str, NDArray[Any]]) -> onnx.NodeProto:
    integers, scale = stored[f"{output}/integers"], stored[f"{output}/scale"]
    scale = scale.reshape(-1, *[1] * (integers.ndim - 1)) if scale.ndim else scale
    constants[f"{output}/floats"] = (integers * scale.astype(np.float64)).astype(np.float32)
    return _quant(f"{output}/floats", output, scale, 0, bits, constants, signed=True, narrow=bits < 32)


def _quant(
    source: str,
    output: str,
    scale: NDArray[Any],
    zero_point: int,
    bits: int,
    constants: dict[str, NDArray[Any]],
    *,
    signed: bool,
    narrow: bool = False,
) -> onnx.NodeProto:
    values = {"scale": scale.astype(np.float32), "zero": np.float32(zero_point), "bits": np.float32(bits)}
    names = {kind: f"{output}/quant/{kind}" for kind in values}
    constants |= {names[kind]: np.asarray(value) for kind, value in values.items()}
    return helper.make_node(
        "Quant",
        [source, *names.values()],
        [output],
        name=f"{output}:Quant",
        domain=DOMAIN,
        signed=int(signed),
        narrow=int(narrow),
        rounding_mode="ROUND",
    )
