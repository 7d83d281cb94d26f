"""Contract of every registered operator, on its examples: all readings compute the same, and what it declares is true."""

from dataclasses import MISSING, dataclass, fields, replace

import numpy as np
import onnxruntime
import pytest
import torch

from nas.export.verification.parity import StepOne, run_with_integers
from nas.export.verification.weights import weights_of
from nas.supernet.calibrate import calibrate
from nas.supernet.deploy import DeployedLayers, extract, fold
from nas.supernet.executor import execute
from nas.supernet.supernet import Supernet
from nas.testing import check_operator
from nas.testing.operators import FORMATS, feeds, in_format
from search_spaces.costs import parameters, size_bytes
from search_spaces.graph.graph import Graph
from search_spaces.graph.node import Quantized, WeightSpec, default_of, operator
from search_spaces.graph.signature import describe, signature
from search_spaces.lowering import lower, random_weights
from search_spaces.operators import OPERATORS
from search_spaces.operators.elementwise import Activation, Add, HardSwish, Relu
from search_spaces.operators.embedding import Embedding
from search_spaces.operators.ends import Input, Output
from search_spaces.operators.linear import Linear
from search_spaces.operators.quantize import Quantize
from search_spaces.precision.scheme import QuantScheme
from search_spaces.space.choice import Choice
from search_spaces.space.space import SearchSpace, Slot

SPECIAL = ("input", "output", "quantize", "opaque")  # the ends, what placement alone writes, what torch does not compute
EXAMPLES = [
    pytest.param(example, id=f"{name}-{i}") for name in OPERATORS for i, example in enumerate(OPERATORS.get(name).examples())
]


def by_onnxruntime(graph, weights, given):
    session = onnxruntime.InferenceSession(lower(graph, weights, batch="n").SerializeToString())
    return session.run(None, given)[0]


@pytest.mark.parametrize("name", sorted(set(OPERATORS) - set(SPECIAL)))
def test_every_operator_keeps_the_contract(name):
    check_operator(name)


@pytest.mark.parametrize("name", FORMATS[1:])
@pytest.mark.parametrize("example", [e for e in EXAMPLES if len(e.values[0]) == 2 and e.values[0][0].dtype == "float32"])
def test_integers_equal_the_integer_reference(example, name, rng):
    shape = example[-1].shape
    behind = (HardSwish(name="z", inputs=("y",), shape=shape), Output(name="out", inputs=("z",), shape=shape))
    graph = in_format((*example, *behind), name)
    weights, given = random_weights(graph, rng), feeds(graph, 4, rng)
    step = StepOne(graph, weights, run_with_integers(lower(graph, weights), graph, given))
    assert step.tensors
    assert step.integer_mismatches == step.float_mismatches == 0
    assert step.output_error < 1e-4


@pytest.mark.parametrize("name", ["add", "multiply", "attentionscores", "attentionvalues"])
def test_the_integer_reference_of_two_tensors_is_near_the_real_numbers(name, rng):
    example, *_ = OPERATORS.get(name).examples()
    *inputs, node = example
    given = [rng.integers(-100, 100, (2, *each.shape)) for each in inputs]
    tensors = [Quantized(x, np.float32(scale), 128) for x, scale in zip(given, (0.01, 0.03), strict=True)]
    real = node.compute([x.integers * np.float64(x.scale) for x in tensors], {})
    output = Quantized(np.zeros(0, np.int64), np.float32(0.05), 128)
    np.testing.assert_allclose(node.compute_integers(tensors, None, {}), real, atol=1e-4)
    np.testing.assert_allclose(node.compute_integers(tensors, output, {}) * 0.05, real, atol=1e-4)


def test_a_new_field_at_its_default_changes_no_signature_and_no_digest(monkeypatch):
    monkeypatch.setattr(OPERATORS, "_entries", dict(OPERATORS._entries))

    @operator("test-shrink")
    @dataclass(frozen=True, kw_only=True)
    class Shrink(Activation):
        """An operator."""

    @operator("test-shrink-2")
    @dataclass(frozen=True, kw_only=True)
    class Shrunk(Activation):
        """The same after a release with one more field."""

        amount: float = 1.0

    Shrunk.op = Shrink.op
    x = Input(name="x", shape=(3,))
    before, after, set_ = (
        [x, kind(name="y", inputs=("x",), shape=(3,), **settings)]
        for kind, settings in ((Shrink, {}), (Shrunk, {}), (Shrunk, {"amount": 2.0}))
    )
    assert signature(after) == signature(before)
    assert describe(after) == describe(before)
    assert "amount=2.0" in signature(set_)
    assert describe(set_) != describe(before)
    assert default_of(fields(Shrunk)[-1]) == 1.0
    assert default_of(fields(Embedding)[-2]) is MISSING


@pytest.mark.parametrize("name", ["float32", "w8a8", "w4a4", "w8a8-tensor"])
@pytest.mark.parametrize("example", EXAMPLES)
def test_weights_are_counted_saved_and_read_back(example, name, rng):
    graph = in_format(example, name)
    node = next(each for each in graph.nodes if each.name == "y")
    counted = [spec for spec in node.weights() if spec.is_counted]
    assert parameters(graph.nodes) == sum(np.prod(spec.shape) for spec in counted)
    assert (size_bytes(graph.nodes) > 0) == bool(counted)
    weights = random_weights(graph, rng)
    found = weights_of(lower(graph, weights), graph)
    assert set(found) == set(weights)
    for key, value in weights.items():
        np.testing.assert_array_equal(found[key], value)


@pytest.mark.parametrize("example", [e for e in EXAMPLES if any(s.init != "given" for s in e.values[0][-1].weights())])
def test_weights_are_sliced_and_folded(example, rng):
    """A small network inside a larger one: what is cut out computes what the shared weights do."""
    node = example[-1]
    assert {spec.role for spec in node.weights()} <= {"weight", "bias", "gamma"}
    for name in ("float32", "w8a8"):
        block = tuple(replace(each, precision=QuantScheme.from_name(name)) for each in example)
        space = SearchSpace("own", [Choice("only", (1,))], [Slot("slot", ("only",), lambda _, block=block: block)])
        supernet = Supernet(space)
        for spec in node.weights():
            shared = supernet.shared[f"y/{spec.role}"]
            assert tuple(shared.shape) == spec.shape
        weight = next(spec for spec in node.weights() if spec.role == "weight")
        smaller = tuple(
            max(1, length - 2) if axis == "kernel" else length
            for axis, length in zip(weight.axes, weight.shape, strict=True)
        )
        assert supernet.weight(replace_shape(node, smaller)).shape == smaller


@pytest.mark.parametrize("name", ["float32", "w8a8", "w4a4", "w8a8-tensor"])
@pytest.mark.parametrize("example", [e for e in EXAMPLES if any(s.init != "given" for s in e.values[0][-1].weights())])
def test_shared_weights_are_folded_saved_and_lowered(example, name, rng):
    """From a supernet of the block alone to a file: the folded network and onnxruntime compute the same."""
    block = tuple(replace(each, precision=QuantScheme.from_name(name)) for each in example)
    space = SearchSpace("own", [Choice("only", (1,))], [Slot("slot", ("only",), lambda _: block)])
    graph = space.subnet(np.zeros(1, np.int16)).graph
    supernet, copy = Supernet(space), Supernet(space, torch.Generator().manual_seed(1))
    (x,) = (torch.from_numpy(value) for value in feeds(graph, 8, rng).values())
    supernet(x, graph)
    copy.load_state_dict(supernet.state_dict())
    calibration = calibrate(copy, graph, x)
    weights = extract(copy, graph, calibration)
    found = by_onnxruntime(graph, weights, {graph.inputs[0].name: x.numpy()})
    with torch.no_grad():
        folded = execute(graph, x, DeployedLayers(fold(supernet, graph, calibration))).numpy()
    steps = [float(weights[f"{node.name}/scale"]) for node in graph.nodes if isinstance(node, Quantize)]
    assert np.abs(found - folded).max() <= 1.001 * max(steps, default=1e-4)
    assert (np.abs(found - folded) > 1e-4).mean() < 0.1
    assert found.std() > 0


def replace_shape(node, shape):
    """Return a stand-in for a node whose weight has another shape."""

    class Smaller(type(node)):
        def weights(self):
            return tuple(replace(s, shape=shape) if s.role == "weight" else s for s in super().weights())

    return Smaller(**{f.name: getattr(node, f.name) for f in fields(node)})


def test_the_bytes_of_an_embedding_count():
    table = Embedding(name="e", inputs=("ids",), shape=(8, 64), n_rows=50_000)
    assert parameters([table]) == 50_000 * 64
    assert size_bytes([table]) == 4 * 50_000 * 64
    assert size_bytes([replace(table, precision=QuantScheme.from_name("w4a8"))]) == 50_000 * 64 / 2 + 4 * 50_000


def test_tied_weights_count_once_and_are_written_once(rng):
    ids = Input(name="ids", shape=(5,), dtype="int64")
    first = Embedding(name="first", inputs=("ids",), shape=(5, 4), n_rows=7)
    second = replace(first, name="second", tied_to="first")
    graph = Graph((ids, first, second, Add(name="sum", inputs=("first", "second"), shape=(5, 4))))
    assert parameters(graph.nodes) == 28
    weights = random_weights(graph, rng)
    assert list(weights) == ["first/weight"]
    model = lower(graph, weights)
    assert [tensor.name for tensor in model.graph.initializer] == ["first/weight"]
    given = {"ids": rng.integers(0, 7, (1, 5))}
    found = onnxruntime.InferenceSession(model.SerializeToString()).run(None, given)[0]
    np.testing.assert_allclose(found, 2 * weights["first/weight"][given["ids"]], rtol=1e-6)
    with torch.no_grad():
        source = DeployedLayers({"first/weight": torch.from_numpy(weights["first/weight"])})
        np.testing.assert_allclose(execute(graph, torch.from_numpy(given["ids"]), source), found, rtol=1e-6)


def test_whole_numbers_are_never_quantized():
    graph = in_format(Embedding.examples()[0], "w8a8")
    assert [node.op for node in graph.nodes] == ["input", "embedding", "quantize"]


def test_a_sign_is_declared():
    x = Input(name="x", shape=(3,))
    assert Relu(name="y", inputs=("x",), shape=(3,)).nonnegative([False])
    assert not Linear(name="y", inputs=("x",), shape=(3,), in_features=3).nonnegative([True])
    assert not Output(name="y", inputs=("x",), shape=(3,)).nonnegative([False])
    assert not x.nonnegative([])
    assert WeightSpec("weight", (1,), ("out",), shared_with="a").is_counted is False
