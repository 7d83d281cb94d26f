"""Proof that an exported file computes what was trained, in two steps.

Step one compares every tensor that onnxruntime holds in integers with an independent integer reference, one operator at
a time.
Step two compares the answers of the file with those of the supernet on thousands of samples.
"""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from latency_tables.runtimes.onnxruntime import open_session
from search_spaces.costs import macs
from search_spaces.graph.graph import Graph, consumers
from search_spaces.graph.node import Node, Quantized, Weights
from search_spaces.operators.conv import Conv
from search_spaces.operators.quantize import Quantize

N_REFERENCE_SAMPLES = 16
MAX_REFERENCE_MACS = 4e9  # of all samples of step one: some ten seconds of exact sums
FLOAT_TOLERANCE = 1e-4  # of the greatest output
TIE = 1e-4  # of a step
MIN_AGREEMENT = {"w8a8": 99.9, "below 8 bits": 99.5}  # percent


@dataclass(frozen=True, kw_only=True)
class Parity:
    """Result of both steps.

    Attributes:
        reference_samples: Samples of step one.
        tensors: Integer tensors compared there.
        elements: Their elements.
        integer_mismatches: Elements that differ although onnxruntime computed them in integers.
        ties: Elements that differ where the exact value lies halfway between two integers to 1e-4; either is right.
        float_mismatches: Elements that differ by more than one step where onnxruntime computed in float32.
        float_conv: Convolutions that onnxruntime runs in float32 although their block computes in integers.
        operators: Operators of onnxruntime's optimized graph, by kind.
        output_error: Greatest difference of the outputs from the reference over the greatest output.
        samples: Samples of step two.
        agreement: Percentage of samples on which the file and the supernet answer alike.
        required_agreement: What it must reach.
        reasons: What failed, one sentence each; empty when everything holds.
    """

    reference_samples: int
    tensors: int
    elements: int
    integer_mismatches: int
    ties: int
    float_mismatches: int
    float_conv: int
    operators: Mapping[str, int]
    output_error: float
    samples: int
    agreement: float
    required_agreement: float
    reasons: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the content of `parity.json`."""
        return asdict(self)


def check_parity(
    model: onnx.ModelProto,
    graph: Graph,
    weights: Weights,
    inputs: NDArray[np.float32],
    expected: NDArray[np.float32],
    agree: Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.bool_]],
) -> Parity:
    """Run both steps.

    Args:
        model: The exported file, batch 1.
        graph: What it was lowered from.
        weights: The same that it holds.
        inputs: Raw, shape `(n, *graph.input_shape)`.
        expected: What the supernet gives for them, shape `(n, *graph.output.shape)`.
        agree: Says for which samples two outputs answer alike, see `nas.tasks.Task.agreement`.
    """
    few = max(1, min(N_REFERENCE_SAMPLES, int(MAX_REFERENCE_MACS / max(macs(graph.nodes), 1))))
    step_one = StepOne(graph, weights, run_with_integers(model, graph, {graph.inputs[0].name: inputs[:few]}))
    agreement = 100 * float(np.mean(agree(predictions(model, inputs), expected)))
    required = MIN_AGREEMENT["below 8 bits" if is_sub8bit(graph) else "w8a8"]
    operators = optimized_operators(model)
    n_integer_conv = sum(isinstance(node, Conv) and not node.precision.is_float32 for node in graph.nodes)
    float_conv = n_integer_conv - operators.get("QLinearConv", 0)

    reasons = []
    if step_one.integer_mismatches:
        reasons.append(f"{step_one.integer_mismatches} integers of {step_one.elements} differ from the integer reference")
    if step_one.float_mismatches:
        reasons.append(f"{step_one.float_mismatches} integers after float operators differ by more than one step")
    if float_conv:
        reasons.append(f"onnxruntime runs {float_conv} convolutions in float32 that should run in integers")
    if not step_one.output_error <= FLOAT_TOLERANCE:
        reasons.append(f"the outputs differ from the reference by {step_one.output_error:.2g} of the greatest")
    if not agreement >= required:
        reasons.append(f"file and supernet agree on {agreement:.2f} % of {len(inputs)} samples, less than {required} %")
    return Parity(
        reference_samples=min(few, len(inputs)),
        tensors=step_one.tensors,
        elements=step_one.elements,
        integer_mismatches=step_one.integer_mismatches,
        ties=step_one.ties,
        float_mismatches=step_one.float_mismatches,
        float_conv=float_conv,
        operators=operators,
        output_error=step_one.output_error,
        samples=len(inputs),
        agreement=agreement,
        required_agreement=required,
        reasons=tuple(reasons),
    )


def is_sub8bit(graph: Graph) -> bool:
    """Return whether some weight or activation has fewer than 8 bits."""
    return any(node.precision.is_sub8bit for node in graph.nodes)


def predictions(model: onnx.ModelProto, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what onnxruntime gives for each sample, shape `(n, ...)`."""
    session = open_session(model.SerializeToString())
    name = session.get_inputs()[0].name
    outputs: NDArray[np.float32] = np.concatenate([session.run(None, {name: one[None]})[0] for one in inputs])
    return outputs


def optimized_operators(model: onnx.ModelProto) -> dict[str, int]:
    """Return how many operators of each kind onnxruntime runs after its optimizations, by name."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimized.onnx"
        open_session(model.SerializeToString(), optimized_to=str(path))
        kinds = [node.op_type for node in onnx.load(path).graph.node]
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


class StepOne:
    """Compares each integer tensor with the reference, which starts from the integers in front of it.

    Between two quantizers the reference computes whatever lies there: one integer operator, or a chain of float32 ones.

    Args:
        graph: The network.
        weights: Its arrays.
        found: What the file computed: integers by name of the quantizer, inputs and outputs by name.

    Attributes:
        tensors: Integer tensors compared.
        elements: Their elements.
        ties: See `Parity`.
        integer_mismatches: See `Parity`.
        float_mismatches: See `Parity`.
        output_error: See `Parity`.
    """

    def __init__(self, graph: Graph, weights: Weights, found: Mapping[str, NDArray[Any]]) -> None:
        self.graph = graph
        self.weights = weights
        self.found = found
        self.tensors = self.elements = self.ties = self.integer_mismatches = self.float_mismatches = 0
        self.floats: dict[str, NDArray[np.float64]] = {
            node.name: found[node.name].astype(np.float64) for node in graph.inputs
        }
        consumers_of = consumers(graph.nodes)
        for node in graph.nodes:
            if not node.inputs:
                continue
            if isinstance(node, Quantize):
                self._compare(node)
                tensor = self._quantized(node.name)
                self.floats[node.name] = tensor.integers.astype(np.float64) * float(tensor.scale)
            elif not _is_integer_result(graph, node):
                self.floats[node.name] = node.compute([self.floats[n] for n in node.inputs], weights)
            elif node.gives_raw or any(consumer.gives_raw for consumer in consumers_of[node.name]):
                tensors = [self._quantized(name) for name in node.inputs]
                self.floats[node.name] = node.compute_integers(tensors, None, weights).astype(np.float64)
        self.output_error = max(self._difference(node.name, found[node.name]) for node in graph.outputs)

    def _difference(self, name: str, found: NDArray[Any]) -> float:
        """Return the greatest difference of an output from the reference, over its greatest value."""
        expected = self.floats[name]
        return float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-12))

    def _compare(self, quantizer: Quantize) -> None:
        output = self._quantized(quantizer.name)
        self.tensors += 1
        self.elements += output.integers.size
        node = self.graph[quantizer.inputs[0]]
        if not _is_integer_result(self.graph, node):
            nearest = quantizer.saturate(self.floats[node.name] / float(output.scale), self.weights)
            self.float_mismatches += int((np.abs(output.integers - nearest) > 1).sum())
            return
        if node.is_fused:  # the saturation at 0 does what a ReLU does
            node = self.graph[node.inputs[0]]
        values = node.compute_integers([self._quantized(name) for name in node.inputs], output, self.weights)
        differs = output.integers != quantizer.saturate(values, self.weights)
        if node.may_tie:
            ties = differs & (np.abs(np.abs(values - output.integers) - 0.5) < TIE)
            self.ties += int(ties.sum())
            differs &= ~ties
        self.integer_mismatches += int(differs.sum())

    def _quantized(self, name: str) -> Quantized:
        quantizer = self.graph[name]
        assert isinstance(quantizer, Quantize)
        zero_point = quantizer.zero_point(self.weights)
        return Quantized(
            self.found[name].astype(np.int64) - zero_point, np.float32(self.weights[f"{name}/scale"]), zero_point
        )


def run_with_integers(
    model: onnx.ModelProto, graph: Graph, inputs: Mapping[str, NDArray[Any]], *, one_by_one: bool = True
) -> dict[str, NDArray[Any]]:
    """Run a copy of the file with its integer tensors as further outputs; return them, inputs and outputs by node.

    Args:
        model: The file.
        graph: What it was lowered from.
        inputs: By name.
        one_by_one: Whether they are samples along the first axis, each a call of its own; otherwise what one call takes.
    """
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    tensors = {node.name: f"{node.name}/integers" for node in graph.nodes if isinstance(node, Quantize)}
    for name in tensors.values():
        exposed.graph.output.append(helper.make_tensor_value_info(name, TensorProto.UINT8, None))
    session = open_session(exposed.SerializeToString())
    outputs = [node.name for node in graph.outputs]
    n = len(next(iter(inputs.values())))
    calls = [{name: array[i : i + 1] for name, array in inputs.items()} for i in range(n)] if one_by_one else [inputs]
    runs = [session.run([*tensors.values(), *outputs], dict(call)) for call in calls]
    found = [np.concatenate(values) if one_by_one else values[0] for values in zip(*runs, strict=True)]
    return {**dict(zip([*tensors, *outputs], found, strict=True)), **inputs}


def _is_integer_result(graph: Graph, node: Node) -> bool:
    """Return True if the tensor is computed from integers alone, so that onnxruntime never holds it in float32."""
    if node.precision.is_float32:
        return False
    if node.is_fused:
        node = graph[node.inputs[0]]
    return node.has_integer_kernel and all(isinstance(graph[name], Quantize) for name in node.inputs)
