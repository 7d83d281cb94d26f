"""Small ONNX files as exporters write them, made without torch."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def model(nodes, inputs, outputs, constants=(), *, opset=21, dtype=TensorProto.FLOAT):
    """Return a model.

    Args:
        nodes: Of `helper.make_node`.
        inputs: Shape by name.
        outputs: Names.
        constants: Array by name.
        opset: Its version.
        dtype: Of inputs.
    """
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, dtype, shape) for name, shape in inputs.items()],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in dict(constants).items()],
    )
    for output in graph.output:
        output.type.tensor_type.elem_type = TensorProto.FLOAT
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def node(kind, inputs, output, name="", **attributes):
    """Return an operator with one result."""
    return helper.make_node(kind, inputs, [output], name=name or output, **attributes)


def small_network(rng=None, *, batch="N"):
    """Return a classifier of 8x8 images: convolution with ReLU6, residual sum, mean, a fully connected layer."""
    rng = rng or np.random.default_rng(0)
    constants = {
        "w1": rng.normal(0, 0.5, (8, 1, 3, 3)).astype(np.float32),
        "b1": rng.normal(0, 0.1, 8).astype(np.float32),
        "w2": rng.normal(0, 0.3, (8, 8, 3, 3)).astype(np.float32),
        "w3": rng.normal(0, 0.5, (8, 10)).astype(np.float32),
        "b3": np.zeros(10, np.float32),
        "low": np.float32(0),
        "high": np.float32(6),
        "axes": np.array([2, 3]),
    }
    nodes = [
        node("Conv", ["x", "w1", "b1"], "a", "/stem/Conv", pads=[1] * 4),
        node("Clip", ["a", "low", "high"], "r", "/stem/Clip"),
        node("Conv", ["r", "w2"], "d", "/body/Conv", pads=[1] * 4),
        node("Add", ["r", "d"], "s", "/body/Add"),
        node("Relu", ["s"], "t", "/body/Relu"),
        node("ReduceMean", ["t", "axes"], "m", "/head/Mean", keepdims=0),
        node("Gemm", ["m", "w3", "b3"], "y", "/head/Gemm"),
    ]
    return model(nodes, {"x": [batch, 1, 8, 8]}, ["y"], constants, opset=18)


def run(proto, **inputs):
    """Return what onnxruntime gives, optimized by nothing."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(proto.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    names = {each.name for each in session.get_inputs()}
    return session.run(None, {name: value for name, value in inputs.items() if name in names})


def saved(proto, path):
    """Write a model and return its path."""
    onnx.save(proto, path)
    return path
