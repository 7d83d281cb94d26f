"""Networks that are no chains: long skips inside one another, elastic depth inside a branch, several inputs and outputs."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from latency_tables.runtimes.onnxruntime import open_session
from latency_tables.table.latency_model import iterate_parts, network_features, sort_parts
from nas.export.verification.parity import check_parity
from nas.objectives.supernet_evaluator import predict
from nas.search.exact import elimination_order, exact_front
from nas.search.pareto import non_dominated
from nas.supernet.calibrate import calibrate
from nas.supernet.deploy import DeployedLayers, extract, fold
from nas.supernet.executor import execute_all
from nas.supernet.supernet import Supernet
from nas.testing import check_space
from search_spaces import PREVIOUS, Choice, InvalidInputError, SearchSpace, Slot, cost_table, graph_costs, lower
from search_spaces.families.builder import BlockBuilder
from search_spaces.families.edsr import edsr
from search_spaces.graph.node import Node
from search_spaces.graph.tensor import TensorSpec
from search_spaces.operators.elementwise import Add, Relu
from search_spaces.operators.ends import Input, Output
from search_spaces.operators.pool import MaxPool
from search_spaces.operators.quantize import Quantize
from search_spaces.precision.scheme import QuantScheme
from search_spaces.space.baselines import uniform_genome
from search_spaces.space.choice import ActiveWhen
from search_spaces.space.space import TabularSpace

SHAPE = (3, 4, 4)
FORMATS = ("float32", "w8a8")


def convolution(name, values, *, format_choice=None, source=""):
    builder = BlockBuilder(name, QuantScheme.from_name(values[format_choice or f"{name}/format"]), SHAPE, source=source)
    builder.apply(Relu, "relu", builder.conv("conv", builder.input, SHAPE[0], kernel=1, batch_norm=False))
    return builder.nodes


def joined(name, values):
    builder = BlockBuilder(name, QuantScheme.from_name(values[f"{name}/format"]), SHAPE, others=[SHAPE])
    builder.apply(Add, "add", builder.conv("conv", builder.input, SHAPE[0], batch_norm=False), builder.others[0])
    return builder.nodes


def answer(values):
    x = Input(name="answer/input", shape=SHAPE)
    last = Relu(name="answer/relu", inputs=(x.name,), shape=SHAPE)
    return (x, last, Output(name="answer", inputs=(last.name,), shape=SHAPE))


def nested_skips():
    """A stem, a first skip around everything, a second one inside, around a branch of one or two blocks."""
    named = ("stem", "outer", "inner1", "inner2", "join1", "join2")
    choices = [Choice("depth", (0, 1, 2)), *(Choice(f"{name}/format", FORMATS) for name in named)]
    slots = [
        Slot("stem", ("stem/format",), lambda v: convolution("stem", v, source="images")),
        Slot("outer", ("outer/format",), lambda v: convolution("outer", v)),
        Slot("inner1", ("depth", "inner1/format"), lambda v: convolution("inner1", v) if v["depth"] >= 1 else ()),
        Slot("inner2", ("depth", "inner2/format"), lambda v: convolution("inner2", v) if v["depth"] >= 2 else ()),
        Slot("join1", ("join1/format",), lambda v: joined("join1", v), sources=(PREVIOUS, ("outer",))),
        Slot("join2", ("join2/format",), lambda v: joined("join2", v), sources=(("join1",), ("stem",))),
        Slot("answer", (), answer),
    ]
    conditions = {"inner1/format": ActiveWhen("depth", (1, 2)), "inner2/format": ActiveWhen("depth", (2,))}
    return SearchSpace("nested", choices, slots, conditions)


def every_genome(space):
    rows = np.array(list(itertools.product(*(range(n) for n in space.cardinalities))), np.int16)
    return np.unique(space.canonicalize(rows), axis=0)


def test_a_space_of_nested_skips_keeps_the_contract():
    space = nested_skips()
    assert not space.is_chain
    check_space(space)


def test_inputs_come_from_the_nearest_active_source():
    space = nested_skips()
    for depth, before in ((0, "outer"), (1, "inner1"), (2, "inner2")):
        genome = np.zeros(len(space.choices), np.int16)
        genome[0] = depth
        network = space.assembly(genome)
        taken = {(network.names[e.consumer], e.position): network.names[e.producer] for e in network.edges}
        assert taken["join1", 0] == before
        assert (taken["join1", 1], taken["join2", 0], taken["join2", 1]) == ("outer", "join1", "stem")
        graph = space.subnet(genome).graph
        assert graph["join2/add"].inputs == ("join2/conv", "stem/relu")
        assert graph.block_of["join2/add"] == "join2"
        assert list(graph.blocks) == list(network.names)


def test_each_block_converts_what_it_takes_for_itself():
    space = nested_skips()
    options = {f"{name}/format": "float32" for name in ("stem", "outer", "join1")} | {"depth": 0, "join2/format": "w8a8"}
    graph = space.subnet_of(options).graph
    quantizers = {node.name: node.inputs for node in graph.nodes if isinstance(node, Quantize)}
    assert quantizers["join2/input/quantize"] == ("join1/add",)
    assert quantizers["join2/input2/quantize"] == ("stem/relu",)


def test_exact_fronts_equal_brute_force():
    space, rng = nested_skips(), np.random.default_rng(0)
    genomes = every_genome(space)
    assert len(genomes) == space.size == 112
    cost = cost_table(space, "bitops")
    ms = {name: rng.uniform(0.1, 1) for name, _ in iterate_parts(space)}
    parts = sort_parts(ms)
    latency = priced(space, parts, rng.uniform(0.5, 1.5, 7))
    front = exact_front(space, {"bitops": cost, "ms": latency})
    points = np.column_stack([cost(genomes), latency(genomes)])
    best = np.unique(points[non_dominated(points)].round(9), axis=0)
    assert np.array_equal(np.unique(front.values.round(9), axis=0), best)


def priced(space, parts, slopes):
    """Return the table that `LatencyTable` makes; equal to the sums of each network."""
    from latency_tables.table.latency_model import block_features, consumer_key, producer_key, transition_features
    from search_spaces.costs import FactorTable
    from search_spaces.space.factor import combine

    factors = [combine(lambda b: float(block_features(parts, b) @ slopes) if b else 0.0, [f]) for f in space.blocks]
    factors += [
        combine(lambda pair: float(transition_features(parts, *pair) @ slopes) if pair else 0.0, [factor])
        for factor in space.transitions(producer_key, consumer_key)
    ]
    table = FactorTable(tuple(factor.astype(float) for factor in factors))
    genomes = every_genome(space)
    sums = [float(network_features(parts, subnet.assembly) @ slopes) for subnet in space.subnets(genomes)]
    assert table(genomes) == pytest.approx(sums)
    return table


def test_the_peak_of_activations_is_told_of_the_whole_network():
    space = nested_skips()
    genome = np.zeros(len(space.choices), np.int16)
    tensor = 4 * np.prod(SHAPE)
    # While join1 adds: the stem's result waits, outer's and the convolution's are read, the sum is written.
    assert graph_costs(space.subnet(genome).graph)["peak_activation_bytes"] == 4 * tensor
    with pytest.raises(InvalidInputError, match="the peak of space 'nested' is no table, as its networks are no chains"):
        cost_table(space, "peak_activation_bytes")


def test_a_front_whose_tables_would_be_too_large_is_refused():
    space = TabularSpace([Choice(f"c{i}", (0, 1)) for i in range(24)])
    order, largest = elimination_order(space, [tuple(range(24))])
    assert sorted(order) == list(range(24))
    assert largest == 2**24


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sources": (PREVIOUS, ("later",))}, r"slot 'join1' takes from \['later'\], which are no slots before it"),
        ({"sources": (PREVIOUS,)}, "slot 'join1' has 1 sources, but its block takes 2 inputs"),
        (
            {"sources": (("inner2", "inner1"), ("outer",))},
            "input 1 of slot 'join1' has no slot to come from where depth is 0",
        ),
        ({"name": "stem"}, r"need distinct names; \['stem'\] stand twice"),
    ],
)
def test_slots_that_do_not_fit_are_refused(change, message):
    space = nested_skips()
    slots = [replace(slot, **change) if slot.name == "join1" else slot for slot in space.slots]
    with pytest.raises(InvalidInputError, match=message):
        SearchSpace("wrong", space.choices, slots, space.conditions)


def test_what_nobody_takes_is_refused():
    space = nested_skips()
    slots = [replace(s, sources=(("outer",), ("outer",))) if s.name == "join1" else s for s in space.slots]
    with pytest.raises(InvalidInputError, match="nobody takes what slot 'inner1' gives where depth is 1"):
        SearchSpace("wrong", space.choices, slots, space.conditions)


def test_shapes_that_differ_are_refused():
    space = nested_skips()
    narrow = (Input(name="n", shape=(2, 4, 4)), Relu(name="m", inputs=("n",), shape=(2, 4, 4)))
    slots = [*space.slots[:-1], Slot("narrow", (), lambda _: narrow)]
    with pytest.raises(InvalidInputError, match=r"'n' takes float32 of shape \(2, 4, 4\), but 'join2/add' gives"):
        SearchSpace("wrong", space.choices, slots, space.conditions)


def two_ends():
    """Two inputs and two outputs."""

    def stem(name):
        x = Input(name=name, shape=SHAPE)
        return (x, Relu(name=f"{name}/relu", inputs=(name,), shape=SHAPE))

    def end(name, operator, n_inputs):
        inputs = [Input(name=f"{name}/input{k}", shape=SHAPE) for k in range(n_inputs)]
        last: Node = operator(name=f"{name}/x", inputs=tuple(x.name for x in inputs), shape=SHAPE)
        return (*inputs, last, Output(name=name, inputs=(last.name,), shape=SHAPE))

    slots = [
        Slot("left", (), lambda _: stem("left"), sources=((),)),
        Slot("right", (), lambda _: stem("right"), sources=((),)),
        Slot("sum", (), lambda _: end("sum", Add, 2), sources=(("left",), ("right",))),
        Slot("rest", (), lambda _: end("rest", Relu, 1), sources=(("right",),)),
    ]
    return SearchSpace("two ends", [Choice("only", (1,))], slots)


def test_several_inputs_and_outputs_are_computed_and_lowered():
    space, rng = two_ends(), np.random.default_rng(0)
    graph = space.subnet(np.zeros(1, np.int16)).graph
    assert [node.name for node in graph.inputs] == ["left", "right"]
    assert [node.name for node in graph.outputs] == ["sum", "rest"]
    given = {name: rng.normal(size=(1, *SHAPE)).astype(np.float32) for name in ("left", "right")}
    found = open_session(lower(graph, {}).SerializeToString()).run(["sum", "rest"], given)
    torched = execute_all(graph, {name: torch.from_numpy(x) for name, x in given.items()}, DeployedLayers({}))
    expected = [sum(np.maximum(x, 0) for x in given.values()), np.maximum(given["right"], 0)]
    for name, onnx_value, value in zip(("sum", "rest"), found, expected, strict=True):
        assert np.array_equal(onnx_value, value)
        assert np.array_equal(torched[name].numpy(), value)


@pytest.mark.parametrize("name", ["float32", "w8a8"])
def test_a_network_of_nested_skips_is_trained_folded_and_lowered(name):
    space, rng = nested_skips(), np.random.default_rng(0)
    genome = np.full(len(space.choices), FORMATS.index(name), np.int16)
    genome[0] = 2
    graph, supernet = space.subnet(genome).graph, Supernet(space)
    images = torch.from_numpy(rng.normal(size=(8, *SHAPE)).astype(np.float32))
    supernet(images, graph).sum().backward()
    calibration = calibrate(supernet, graph, images)
    expected = execute_all(graph, images, DeployedLayers(fold(supernet, graph, calibration)))["answer"].detach().numpy()
    model = lower(graph, extract(supernet, graph, calibration), batch=8)
    (found,) = open_session(model.SerializeToString()).run(None, {"images": images.numpy()})
    assert np.abs(found - expected).max() < (1e-5 if name == "float32" else 0.05)


def test_a_stage_of_many_optional_blocks_is_a_space():
    space = edsr(
        "deep",
        input_shape=(1, 8, 8),
        outputs=TensorSpec("pictures", (1, 16, 16)),
        depths=tuple(range(1, 17)),
        widths=(4,),
        kernels=(3,),
        formats=("float32", "w8a8"),
    )
    genome = uniform_genome(space, "largest", "w8a8")
    assert cost_table(space, "bitops")(genome[None])[0] == graph_costs(space.subnet(genome).graph)["bitops"]
    many = TabularSpace([Choice(f"c{i}", (0, 1)) for i in range(64)])
    assert elimination_order(many, [tuple(range(64))])[1] == 2**64


def test_the_last_block_of_a_chain_may_be_optional():
    space = nested_skips()
    conditional = Slot("more", ("depth", "join2/format"), lambda v: more(v) if v["depth"] else ())
    chain = SearchSpace("chain", space.choices, [*space.slots[:-1], conditional], space.conditions)
    genome = np.zeros(len(space.choices), np.int16)
    assert chain.subnet(genome).graph.output.name == "join2/add"


def more(values):
    return convolution("more", values, format_choice="join2/format")


def movers(name, precision, shape):
    """A block of two poolings in a row and a convolution."""
    builder = BlockBuilder(name, precision, shape)
    pooled = builder.apply(MaxPool, "pool1", builder.input, shape=(shape[0], 4, 4))
    pooled = builder.apply(MaxPool, "pool2", pooled, shape=(shape[0], 2, 2))
    builder.conv("conv", pooled, shape[0], batch_norm=False)
    return builder.nodes


def shuffled(name, precision, shape):
    """Pixels made of channels and a ReLU behind, with a scale of its own."""
    builder = BlockBuilder(name, precision, shape)
    large = builder.enlarge("enlarge", builder.input, shape[0], 2)
    builder.conv("conv", builder.apply(Relu, "relu", large), shape[0], batch_norm=False)
    return builder.nodes


@pytest.mark.parametrize("precision", ["w8a8", "w4a4"])
@pytest.mark.parametrize("block", [movers, shuffled])
def test_what_moves_data_is_what_the_integer_reference_says(block, precision, rng):
    shape, chosen = (4, 8, 8), QuantScheme.from_name(precision)

    def stem(_):
        builder = BlockBuilder("stem", chosen, shape, source="images")
        builder.apply(Relu, "relu", builder.conv("conv", builder.input, shape[0], kernel=3, batch_norm=False))
        return builder.nodes

    def end(_):
        given = block("middle", chosen, shape)[-1].shape
        builder = BlockBuilder("end", QuantScheme.from_name("float32"), given)
        return (*builder.nodes, Relu(name="end/relu", inputs=("end/input",), shape=given))

    slots = [Slot("stem", (), stem), Slot("middle", (), lambda _: block("middle", chosen, shape)), Slot("end", (), end)]
    space = SearchSpace("movers", [Choice("only", (1,))], slots)
    graph, supernet = space.subnet(np.zeros(1, np.int16)).graph, Supernet(space)
    assert (
        len({node.format for node in graph.nodes if isinstance(node, Quantize) and node.shares == "stem/relu/quantize"}) <= 1
    )
    images = torch.from_numpy(rng.normal(size=(32, *shape)).astype(np.float32))
    calibration = calibrate(supernet, graph, images)
    weights = extract(supernet, graph, calibration)
    expected = predict(supernet, graph, calibration, images).numpy()

    def alike(a, b):
        return np.abs(a - b).reshape(len(a), -1).max(axis=1) <= 0.1 * np.abs(b).max()

    parity = check_parity(lower(graph, weights), graph, weights, images.numpy(), expected, alike)
    assert not parity.reasons


@pytest.mark.parametrize(
    ("slots", "message"),
    [
        (lambda s: [*s[:4], replace(s[4], sources=("outer", ("outer",))), *s[5:]], "is a tuple of names, as in sources="),
        (lambda s: [*s, Slot("behind", (), lambda _: answer({})[:1] + answer({})[1:2])], "takes the output 'answer'"),
        (lambda s: [*s[:-1], Slot("idle", (), lambda _: idle())], r"slot 'idle': nobody in the block takes \['dead'\]"),
    ],
)
def test_slips_in_slots_are_named(slots, message):
    space = nested_skips()
    with pytest.raises(InvalidInputError, match=message):
        SearchSpace("wrong", space.choices, slots(list(space.slots)), space.conditions)


def idle():
    x = Input(name="x", shape=SHAPE)
    return (x, Relu(name="dead", inputs=("x",), shape=SHAPE), Output(name="out", inputs=("x",), shape=SHAPE))


def test_an_output_that_renames_nothing_is_a_copy():
    """An output of what others take, too, does not take its name away."""
    stem = Slot("stem", (), lambda _: (Input(name="x", shape=SHAPE), Relu(name="r", inputs=("x",), shape=SHAPE)))
    aside = (Input(name="a", shape=SHAPE), Output(name="aside", inputs=("a",), shape=SHAPE))
    slots = [stem, Slot("aside", (), lambda _: aside), Slot("answer", (), answer, sources=(("stem",),))]
    graph = SearchSpace("aside", [Choice("only", (1,))], slots).subnet(np.zeros(1, np.int16)).graph
    x = np.random.default_rng(0).normal(size=(1, *SHAPE)).astype(np.float32)
    for found in open_session(lower(graph, {}).SerializeToString()).run(["aside", "answer"], {"x": x}):
        assert np.array_equal(found, np.maximum(x, 0))
