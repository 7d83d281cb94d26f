"""Proof that an exported file computes what was trained, in two steps.

Step one compares every tensor that onnxruntime holds in integers with an independent integer reference, one operator at
a time.
Step two compares the answers of the file with those of the supernet on thousands of images.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from latency_tables.backends.onnxruntime import open_session
from nas.export import reference
from search_spaces.graph import Add, Conv, GlobalAveragePool, Graph, Linear, Node, Quantize, Relu
from search_spaces.lowering import Weights, lower

N_REFERENCE_IMAGES = 16
FLOAT_TOLERANCE = 1e-4  # of the greatest logit
TIE = 1e-4  # of a step
LEAST_AGREEMENT = {"w8a8": 99.9, "below 8 bits": 99.5}  # percent


@dataclass(frozen=True, kw_only=True)
class Parity:
    """Result of both steps.

    Attributes:
        tensors: Integer tensors compared in step one.
        elements: Their elements.
        integer_mismatches: Elements that differ although onnxruntime computed them in integers.
        ties: Elements that differ where the exact value lies halfway between two integers to 1e-4; either is right.
        float_mismatches: Elements that differ by more than one step where onnxruntime computed in float32.
        float_conv: Convolutions that onnxruntime runs in float32 although their block computes in integers.
        operators: Operators of onnxruntime's optimized graph, by kind.
        logit_error: Greatest difference of the logits from the reference (with a float32 classifier: from the supernet),
            over the greatest logit. In a mixed network with a float32 classifier it may be a step of a quantizer, and is
            only told.
        images: Images of step two.
        agreement: Percentage of images on which the file and the supernet name the same class.
        required_agreement: What it must reach.
        reasons: What failed, one sentence each; empty when everything holds.
    """

    tensors: int
    elements: int
    integer_mismatches: int
    ties: int
    float_mismatches: int
    float_conv: int
    operators: Mapping[str, int]
    logit_error: float
    images: int
    agreement: float
    required_agreement: float
    reasons: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the content of `parity.json`."""
        return asdict(self)


def check_parity(
    model: onnx.ModelProto, graph: Graph, weights: Weights, images: NDArray[np.float32], expected: NDArray[np.float32]
) -> Parity:
    """Run both steps.

    Args:
        model: The exported file, batch 1.
        graph: What it was lowered from.
        weights: The same that it holds.
        images: Raw pixels, shape `(n, channels, height, width)`.
        expected: The supernet's logits on them, shape `(n, n_classes)`.
    """
    few = images[:N_REFERENCE_IMAGES]
    step_one = _StepOne(graph, weights, _run_with_integers(graph, weights, few))
    session = open_session(model.SerializeToString())
    answers = np.concatenate([session.run(None, {graph.nodes[0].name: image[None]})[0] for image in images])
    classifier = next(node for node in graph.nodes if isinstance(node, Linear))
    if classifier.precision.is_float:
        logit_error = _relative_error(answers[: len(few)], expected[: len(few)])
    else:
        logit_error = _relative_error(step_one.found[graph.output.name], step_one.logits)
    is_exact = not classifier.precision.is_float or step_one.tensors == 0
    agreement = 100 * float(np.mean(answers.argmax(axis=1) == expected.argmax(axis=1)))
    narrow = any(isinstance(n, Conv) and n.precision.name not in ("float32", "w8a8") for n in graph.nodes)
    required = LEAST_AGREEMENT["below 8 bits" if narrow else "w8a8"]
    operators = optimized_operators(model)
    n_integer_conv = sum(isinstance(node, Conv) and not node.precision.is_float for node in graph.nodes)
    float_conv = n_integer_conv - operators.get("QLinearConv", 0)

    reasons = []
    if step_one.integer_mismatches:
        reasons.append(f"{step_one.integer_mismatches} integers of {step_one.elements} differ from the integer reference")
    if step_one.float_mismatches:
        reasons.append(f"{step_one.float_mismatches} integers after float operators differ by more than one step")
    if float_conv:
        reasons.append(f"onnxruntime runs {float_conv} convolutions in float32 that should run in integers")
    if is_exact and not logit_error <= FLOAT_TOLERANCE:
        reasons.append(f"the logits differ from the reference by {logit_error:.2g} of the greatest")
    if not agreement >= required:
        reasons.append(f"file and supernet agree on {agreement:.2f} % of {len(images)} images, less than {required} %")
    return Parity(
        tensors=step_one.tensors,
        elements=step_one.elements,
        integer_mismatches=step_one.integer_mismatches,
        ties=step_one.ties,
        float_mismatches=step_one.float_mismatches,
        float_conv=float_conv,
        operators=operators,
        logit_error=logit_error,
        images=len(images),
        agreement=agreement,
        required_agreement=required,
        reasons=tuple(reasons),
    )


def _relative_error(found: NDArray[np.float32], true: NDArray[np.float32]) -> float:
    return float(np.abs(found - true).max() / max(np.abs(true).max(), 1e-12))


def optimized_operators(model: onnx.ModelProto) -> dict[str, int]:
    """Return how many operators of each kind onnxruntime runs after its optimizations, by name."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimized.onnx"
        open_session(model.SerializeToString(), optimized_to=str(path))
        kinds = [node.op_type for node in onnx.load(path).graph.node]
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


class _StepOne:
    """Compares each integer tensor with the reference applied to the integers that its operator took."""

    def __init__(self, graph: Graph, weights: Weights, found: Mapping[str, NDArray[Any]]) -> None:
        self.graph = graph
        self.weights = weights
        self.found = found
        self.tensors = self.elements = self.ties = self.integer_mismatches = self.float_mismatches = 0
        self.logits = np.empty(0, np.float32)
        for node in graph.nodes:
            if isinstance(node, Quantize):
                self._compare(node)
            elif isinstance(node, Linear) and not node.precision.is_float:
                source = node.inputs[0]
                self.logits = reference.linear(node, self._integers(source), self._scale(source), weights)

    def _compare(self, quantizer: Quantize) -> None:
        found = self._integers(quantizer.name)
        values = self._expected(quantizer)
        self.tensors += 1
        self.elements += found.size
        if values is None:
            scale = np.float32(self._scale(quantizer.name))
            taken = (self.found[quantizer.inputs[0]] / scale).astype(np.float32)
            nearest = reference.saturate(taken, quantizer.format)
            self.float_mismatches += int((np.abs(found - nearest) > 1).sum())
            return
        differs = found != reference.saturate(values, quantizer.format)
        ties = differs & (np.abs(np.abs(values - found) - 0.5) < TIE)
        self.ties += int(ties.sum())
        self.integer_mismatches += int((differs & ~ties).sum())

    def _expected(self, quantizer: Quantize) -> NDArray[np.float32] | None:
        """Return what the reference gives before rounding, or None where the quantizer takes a float32 tensor."""
        node = self.graph[quantizer.inputs[0]]
        if not _is_integer_result(self.graph, node):
            return None
        if isinstance(node, Relu):
            node = self.graph[node.inputs[0]]
        tensors, scales = [self._integers(n) for n in node.inputs], [self._scale(n) for n in node.inputs]
        if isinstance(node, Conv):
            return reference.conv(node, tensors[0], scales[0], quantizer, self.weights)
        if isinstance(node, Add):
            return reference.add(tensors, scales, quantizer, self.weights)
        if isinstance(node, GlobalAveragePool):
            return reference.global_average_pool(tensors[0], scales[0], quantizer, self.weights)
        raise TypeError(f"no integer reference for {type(node).__name__}")

    def _integers(self, name: str) -> NDArray[np.int64]:
        quantizer = self.graph[name]
        assert isinstance(quantizer, Quantize)
        return self.found[name].astype(np.int64) - quantizer.format.zero_point

    def _scale(self, name: str) -> float:
        return float(self.weights[f"{name}/scale"])


def _run_with_integers(graph: Graph, weights: Weights, images: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """Run the model with every integer tensor, and every float tensor that is quantized, as further outputs."""
    model = lower(graph, weights)
    wanted = {graph.output.name: graph.output.name}
    for node in graph.nodes:
        if isinstance(node, Quantize):
            wanted[node.name] = f"{node.name}/integers"
            source = graph[node.inputs[0]]
            if not _is_integer_result(graph, source):
                wanted[source.name] = source.name
    images_name = graph.nodes[0].name
    asked = [tensor for tensor in wanted.values() if tensor != images_name]
    for tensor in asked:
        kind = TensorProto.UINT8 if tensor.endswith("/integers") else TensorProto.FLOAT
        if tensor != graph.output.name:
            model.graph.output.append(helper.make_tensor_value_info(tensor, kind, None))
    session = open_session(model.SerializeToString())
    runs = [session.run(asked, {images_name: image[None]}) for image in images]
    found = {name: np.concatenate(tensors) for name, tensors in zip(asked, zip(*runs, strict=True), strict=True)}
    found[images_name] = images
    return {name: found[tensor] for name, tensor in wanted.items()}


def _is_integer_result(graph: Graph, node: Node) -> bool:
    """Return whether the tensor is computed from integers alone, so that onnxruntime never holds it in float32."""
    if node.precision.is_float:
        return False
    if isinstance(node, Relu):
        node = graph[node.inputs[0]]
    return bool(node.inputs) and all(isinstance(graph[name], Quantize) for name in node.inputs)
