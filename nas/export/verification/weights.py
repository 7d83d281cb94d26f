"""From an exported file back to the weights that it was lowered with."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from search_spaces.graph.graph import Graph
from search_spaces.lowering import has_integer_weights
from search_spaces.operators.project import Project, stored_weights
from search_spaces.precision.grouped import unpack_codes


def weights_of(model: onnx.ModelProto, graph: Graph) -> dict[str, NDArray[Any]]:
    """Return the weights that a model was lowered with, under the names that `search_spaces.lower` takes.

    Raises:
        KeyError: If the model lacks one.
    """
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for name in [name for name in stored if name.endswith("/int4")]:
        stored[name.removesuffix("/int4")] = stored[name].astype(np.int8)
    weights: dict[str, NDArray[Any]] = {}
    for node in (node for node in graph.nodes if not isinstance(node, Project)):
        integers = "/integers" if has_integer_weights(node) else ""
        for spec in (spec for spec in node.weights() if not (spec.folded or spec.shared_with)):
            name = f"{node.name}/{spec.role}"
            if spec.quantized and node.precision.is_grouped:
                scale = stored[f"{name}/scale"]
                codes = unpack_codes(stored[f"{name}/packed"], node.precision.weights.bits, spec.shape)
                weights |= {name: codes, f"{name}_scale": scale}
                continue
            weights[name] = stored[f"{name}{integers}"].reshape(spec.shape)
            if spec.quantized and integers:
                weights[f"{name}_scale"] = np.broadcast_to(stored[f"{name}/scale"], spec.shape[:1])
    return weights | stored_weights(graph, stored)
