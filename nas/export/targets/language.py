"""Further forms of an exported language model: operators of ONNX alone, which any runtime may read, and OpenVINO's own."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from latency_tables.runtimes import RUNTIMES
from latency_tables.runtimes.onnxruntime import PRESENT, open_session
from nas.export.verification.token_session import TokenStream
from search_spaces.graph.graph import Graph
from search_spaces.precision.formats import FLOAT32
from search_spaces.registry import Registry

Run = Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]
"""From all inputs of a model by name to all outputs by name."""
LanguageTarget = Callable[[onnx.ModelProto, Path], Run]
"""Writes files into a folder, of a model that `lower(portable=True)` wrote, and returns them at work."""

LANGUAGE_TARGETS: Registry[LanguageTarget] = Registry("export target of a language model")
N_COMPARED = 4  # windows: these files copy their cache at every token


class PortableStream(TokenStream):
    """A model of operators of ONNX alone: keys and values come back, longer by the new ones.

    Args:
        model: As `lower(portable=True)` wrote it.
        run: The same at work.
    """

    def __init__(self, model: onnx.ModelProto, run: Run) -> None:
        self._run = run
        self._answer = next(given.name for given in model.graph.output if not given.name.endswith(PRESENT))
        self._nothing = {taken.name: _nothing(taken) for taken in model.graph.input if taken.name != "tokens"}
        self.reset()

    def reset(self) -> None:
        """See `TokenStream`."""
        self._kept = self._nothing

    def feed(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """See `TokenStream`."""
        given = self._run({"tokens": np.ascontiguousarray(tokens, np.int64)[None], **self._kept})
        self._kept = {name: given[f"{name}{PRESENT}"] for name in self._kept}
        return given[self._answer].reshape(-1)


def computed_in_float(graph: Graph) -> Graph:
    """Return what a portable file computes: activations that kernels round at run time stay float32."""
    schemes = {
        node.precision: replace(node.precision, activations=FLOAT32, is_dynamic=False)
        for node in graph.nodes
        if node.precision.is_dynamic
    }
    nodes = (replace(node, precision=schemes.get(node.precision, node.precision)) for node in graph.nodes)
    return replace(graph, nodes=tuple(nodes))


@LANGUAGE_TARGETS.register("portable")
def write_portable(model: onnx.ModelProto, folder: Path) -> Run:
    """Write `portable.onnx`.

    onnxruntime may round activations of a weight of 4 bits as it likes, unless it is told not to, as here.
    """
    onnx.save(model, folder / "portable.onnx")
    options = {"session.qdq_matmulnbits_accuracy_level": "1"}
    session = open_session(model.SerializeToString(), threads=1, options=options)
    names = [given.name for given in session.get_outputs()]
    return lambda feeds: dict(zip(names, session.run(names, dict(feeds)), strict=True))


@LANGUAGE_TARGETS.register("openvino")
def write_openvino(model: onnx.ModelProto, folder: Path) -> Run:
    """Write OpenVINO's own form, `model.xml` and `model.bin`."""
    RUNTIMES.get("openvino").version()  # says how to install it where it is missing
    openvino: Any = importlib.import_module("openvino")
    core = openvino.Core()
    openvino.save_model(core.read_model(model.SerializeToString()), folder / "model.xml", compress_to_fp16=False)
    exact = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0", "INFERENCE_NUM_THREADS": 1}
    compiled = core.compile_model(folder / "model.xml", "CPU", exact)

    def run(feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        given = compiled(dict(feeds))
        return {name: np.array(given[output]) for output in compiled.outputs for name in output.names}

    return run


def _nothing(taken: onnx.ValueInfoProto) -> NDArray[Any]:
    """Return keys or values of no tokens."""
    kind = taken.type.tensor_type
    sizes = [axis.dim_value for axis in kind.shape.dim]  # 0 where it has a name
    return np.zeros(sizes, onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
