"""Contract of an operator."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from latency_tables.runtimes.onnxruntime import open_session
from nas.export.targets.torch_module import module_source
from nas.supernet.deploy import DeployedLayers
from nas.supernet.executor import execute
from search_spaces.costs import parameters
from search_spaces.graph.graph import Graph
from search_spaces.graph.node import COMMON, Node
from search_spaces.graph.signature import describe, signature
from search_spaces.lowering import lower, random_weights
from search_spaces.operators import OPERATORS
from search_spaces.operators.ends import Input
from search_spaces.operators.quantize import Quantize
from search_spaces.precision.formats import FLOAT32
from search_spaces.precision.placement import place_quantizers
from search_spaces.precision.scheme import QuantScheme
from search_spaces.space.assembly import block_inputs

FORMATS = ("float32", "w8a8", "w4a4", "w8a8-tensor", "w4a6-asymmetric")
GROUPED = ("w4a32-g32", "w8a8d-g16", "w4a8d-g32", "w2a8d-g64")


def check_operator(name: str) -> None:
    """Check a registered operator on its examples.

    Torch, NumPy, onnxruntime and the exported module compute the same in every format, fields that decide time change the
    signature, weights are counted.

    Args:
        name: Under which it is registered.
    """
    kind = OPERATORS.get(name)
    assert kind.op == name
    assert kind.examples(), f"'{name}' has no examples"
    for example in kind.examples():
        *inputs, node = example
        assert type(node) is kind
        assert all(isinstance(each, Input) for each in inputs)
        check_signature(example)
        counted = [spec for spec in node.weights() if spec.is_counted]
        assert parameters([node]) == sum(np.prod(spec.shape) for spec in counted), "weights are not counted"
        for precision in (*FORMATS, *(GROUPED if node.takes_groups else ())):
            check_readings(example, precision)


def check_readings(example: tuple[Node, ...], precision: str) -> None:
    """Check that all readings of an operator compute the same.

    Args:
        example: Inputs first, the operator last.
        precision: Format of the block.
    """
    rng, graph = np.random.default_rng(0), in_format(example, precision)
    weights, given = random_weights(graph, rng), feeds(graph, 3, rng)
    (found,) = open_session(lower(graph, weights, batch="n").SerializeToString()).run(None, dict(given))
    tensors = {key: torch.from_numpy(np.asarray(value)) for key, value in weights.items()}
    floats = {key: value.float() if value.dtype != torch.int64 else value for key, value in tensors.items()}
    with torch.no_grad():
        torched = execute(graph, {k: torch.from_numpy(v) for k, v in given.items()}, DeployedLayers(floats)).numpy()
    assert found.shape[1:] == graph.output.shape == torched.shape[1:]
    steps = [float(weights[f"{node.name}/scale"]) for node in graph.nodes if isinstance(node, Quantize)]
    if not steps:
        exact: dict[str, NDArray[np.float64]] = {key: value.astype(np.float64) for key, value in given.items()}
        for node in graph.nodes[len(graph.inputs) :]:
            exact[node.name] = node.compute([exact[source] for source in node.inputs], weights)
        for other in (found, torched):
            np.testing.assert_allclose(other, exact[graph.output.name], rtol=1e-4, atol=1e-5)
    else:
        assert np.abs(found - torched).max() <= max(steps) * 1.001  # a step where float32 rounds halves its own way
        assert (np.abs(found - torched) > 1e-6).mean() < 0.1
    if len(given) == 1:
        scope: dict[str, Any] = {"__file__": "model.py", "__name__": "exported"}
        exec(module_source(graph), scope)
        with torch.no_grad():
            answers = scope["Model"](tensors)(torch.from_numpy(next(iter(given.values())))).numpy()
        assert np.abs(found - answers).max() <= 1.001 * max(steps, default=1e-4), "the exported module differs"


def check_signature(example: tuple[Node, ...]) -> None:
    """Check that a field changes the signature exactly where it decides how long the operator takes."""
    *inputs, node = example
    for own in (field for field in fields(node) if field.name not in COMMON):
        value = getattr(node, own.name)
        other = _other(value)
        settings: dict[str, Any] = {own.name: other}
        changed = signature([*inputs, replace(node, **settings)])
        assert (changed != signature(example)) == own.metadata.get("timed", True), f"field '{own.name}'"
        assert describe([replace(node, **settings)]) != describe([node]), f"field '{own.name}'"


def _other(value: Any) -> Any:
    """Return another value of a field."""
    if isinstance(value, bool):
        return not value
    return f"{value}x" if isinstance(value, str) else (*value, 2) if isinstance(value, tuple) else value + 2


def in_format(example: tuple[Node, ...], precision: str) -> Graph:
    """Return an example as a graph in a format, with its quantizers."""
    chosen = QuantScheme.from_name(precision)
    block = tuple(replace(node, precision=chosen) for node in example)
    return Graph(place_quantizers(block, [FLOAT32] * len(block_inputs(block))))


def feeds(graph: Graph, n: int, rng: np.random.Generator) -> Mapping[str, NDArray[Any]]:
    """Return n samples for each input of a graph."""
    return {node.name: _values(node, n, rng) for node in graph.inputs}


def _values(node: Node, n: int, rng: np.random.Generator) -> NDArray[Any]:
    if node.outputs[0].dtype == "int64":
        return rng.integers(0, 5, (n, *node.shape))
    return rng.standard_normal((n, *node.shape)).astype(np.float32)
