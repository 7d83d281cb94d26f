"""Further forms of an exported language model: operators of ONNX alone, which any runtime may read, and OpenVINO's own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from latency_tables.runtimes.onnxruntime import PRESENT, open_session
from nas.export.targets import openvino
from nas.export.verification.language import TextParity, check_texts
from nas.export.verification.network import Network, serving_graph
from nas.export.verification.token_session import TokenStream
from search_spaces.graph.graph import Graph
from search_spaces.graph.node import Weights
from search_spaces.precision.formats import FLOAT32
from search_spaces.registry import Registry
from search_spaces.space.subnet import Subnet

Run = Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]
"""From all inputs of a model by name to all outputs by name."""


@dataclass(frozen=True)
class LanguageTarget:
    """A form of a language model for another tool.

    Attributes:
        file: What a user opens.
        write: Writes files into a folder, of a model that `lower(portable=True)` wrote.
        open: From that folder to the model at work; raises `NotReadyError` where the tool is missing.
    """

    file: str
    write: Callable[[onnx.ModelProto, Path], None]
    open: Callable[[Path], Run]


LANGUAGE_TARGETS: Registry[LanguageTarget] = Registry("export target of a language model")
N_COMPARED = 4  # windows: these files copy their cache at every token


class PortableStream(TokenStream):
    """A portable model at work: keys and values come back, longer by the new ones.

    Args:
        graph: What it was lowered from.
        run: The model.
    """

    def __init__(self, graph: Graph, run: Run) -> None:
        self._run = run
        self._answer = graph.output.name
        self._nothing = {}
        for state in (state for node in graph.nodes for state in node.states):
            heads, _, depth = state.shape
            self._nothing[state.name] = np.zeros((1, heads, 0, depth), state.dtype)
        self.reset()

    def reset(self) -> None:
        """See `TokenStream`."""
        self._kept = self._nothing

    def feed(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """See `TokenStream`."""
        given = self._run({"tokens": np.ascontiguousarray(tokens, np.int64)[None], **self._kept})
        self._kept = {name: given[f"{name}{PRESENT}"] for name in self._kept}
        return given[self._answer].reshape(-1)


def compare(
    target: str, folder: Path, subnet: Subnet, weights: Weights, windows: NDArray[np.int64], batch: int
) -> TextParity:
    """Compare a target's files with the network whose activations are rounded nowhere but to static integers.

    Args:
        target: A name in `LANGUAGE_TARGETS`.
        folder: Holds the files.
        subnet: The network.
        weights: Of the network.
        windows: Tokens that it was not trained on, `(n, tokens)`; the first four are compared.
        batch: Windows that are computed at once.

    Raises:
        NotReadyError: If the target's tool is missing.
    """
    stream = PortableStream(serving_graph(subnet), LANGUAGE_TARGETS.get(target).open(folder))
    network = Network.of(computed_in_float(subnet.graph), weights, batch)
    answers = (network.answers, network.moved.answers)
    return check_texts(stream, computed_in_float(serving_graph(subnet)), windows[:N_COMPARED], *answers)


def computed_in_float(graph: Graph) -> Graph:
    """Return what a portable file computes: activations that kernels round at run time stay float32."""
    schemes = {
        node.precision: replace(node.precision, activations=FLOAT32, is_dynamic=False)
        for node in graph.nodes
        if node.precision.is_dynamic
    }
    nodes = (replace(node, precision=schemes.get(node.precision, node.precision)) for node in graph.nodes)
    return replace(graph, nodes=tuple(nodes))


def _write_portable(model: onnx.ModelProto, folder: Path) -> None:
    """Write `portable.onnx`."""
    onnx.save(model, folder / "portable.onnx")


def _open_portable(folder: Path) -> Run:
    """Open it in onnxruntime, which may round activations of a weight of 4 bits as it likes unless it is told not to."""
    options = {"session.qdq_matmulnbits_accuracy_level": "1"}
    session = open_session((folder / "portable.onnx").read_bytes(), threads=1, options=options)
    names = [given.name for given in session.get_outputs()]
    return lambda feeds: dict(zip(names, session.run(names, dict(feeds)), strict=True))


LANGUAGE_TARGETS.register("portable")(LanguageTarget("portable.onnx", _write_portable, _open_portable))
LANGUAGE_TARGETS.register("openvino")(LanguageTarget(openvino.FILE, openvino.write_model, openvino.open_model))
