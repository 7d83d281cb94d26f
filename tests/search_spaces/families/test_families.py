"""What holds for every family of networks: one definition, read in several ways, agrees with itself."""

import numpy as np
import onnx
import pytest

from latency_tables.runtimes.onnxruntime import open_session
from nas.export.verification.parity import optimized_operators
from nas.testing import check_space
from search_spaces import SPACES, InvalidInputError, Stage, classes, cost_table, graph_costs, lower, resnet
from search_spaces.graph.graph import consumers
from search_spaces.operators.attention import AttentionScores, AttentionValues
from search_spaces.operators.conv import Conv
from search_spaces.operators.elementwise import Add, Multiply
from search_spaces.operators.project import Project, packs
from search_spaces.operators.resize import Resize
from search_spaces.space.baselines import uniform_genome


@pytest.fixture(params=list(SPACES))
def space(request):
    return SPACES.get(request.param)()


COSTS = ["macs", "bitops", "parameters", "size_bytes", "peak_activation_bytes"]


def test_every_family_keeps_the_contract(space):
    check_space(space)


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("name", ["mobilenet-v3-digits", "resnet-digits", "vit-digits"])
@pytest.mark.parametrize("formats", [("e4m3",), ("float32", "w8a8", "e2m1", "w3a5-tensor", "w4a4-asymmetric")])
def test_tables_of_costs_hold_for_every_kind_of_format(name, formats, cost, rng):
    space = SPACES.get(name)(formats=formats)
    genomes = space.sample(20, rng)
    expected = [graph_costs(space.subnet(genome).graph)[cost] for genome in genomes]
    assert cost_table(space, cost)(genomes).tolist() == expected


def test_integer_blocks_run_in_integers(space):
    graph = space.subnet(uniform_genome(space, "largest", "w8a8")).graph
    operators = optimized_operators(lower(graph))

    def n(*kinds):
        mine = [node for node in graph.nodes if isinstance(node, kinds) and not node.stays_float]
        return sum(node.precision.is_static for node in mine)

    assert operators.get("QLinearConv", 0) == n(Conv)
    assert operators.get("QLinearAdd", 0) == n(Add)
    assert operators.get("QLinearMul", 0) == n(Multiply)
    assert operators.get("QLinearMatMul", 0) == n(AttentionScores, AttentionValues)
    packed = packs(graph)
    assert operators.get("MatMulIntegerToFloat", 0) == n(Project) - len(packed) + len(
        {pack.name for pack in packed.values()}
    )


def test_choices_matter_only_where_they_do(space, rng):
    """Networks whose genes differ are different graphs."""
    genomes = np.unique(space.sample(60, rng), axis=0)
    graphs = {space.subnet(genome).graph.nodes for genome in genomes}
    assert len(graphs) == len(genomes)


def test_resolution_is_elastic_and_a_full_one_costs_nothing():
    space = SPACES.get("mobilenet-v3-28")()
    genome = uniform_genome(space, "smallest")
    small = space.subnet(genome).graph
    genome[space.gene["resolution"]] = 1
    full = space.subnet(genome).graph
    assert [node.shape for node in small.nodes if isinstance(node, Resize)] == [(1, 21, 21)]
    assert not any(isinstance(node, Resize) for node in full.nodes)
    assert graph_costs(small)["macs"] < 0.7 * graph_costs(full)["macs"]
    assert small["stem/conv"].shape[1:] == (11, 11)


@pytest.mark.parametrize(("height", "width"), [(81, 81), (22, 22), (28, 20), (7, 9), (1, 1), (2, 3)])
def test_images_of_any_size_are_resized_in_their_proportions(height, width, rng):
    space = SPACES.get("mobilenet-v3-28")(input_shape=(3, height, width))
    genome = uniform_genome(space, "smallest")
    for resolution in range(len(space.choices[space.gene["resolution"]].options)):
        genome[space.gene["resolution"]] = resolution
        graph = space.subnet(genome).graph
        wanted = int(space.choices[space.gene["resolution"]].options[resolution])
        normalized = graph["stem/normalize"].shape
        assert normalized == (3, wanted, max(1, round(width * wanted / height)))
        assert (normalized[1:] == (height, width)) == (wanted == height)
        model = lower(graph, batch="batch")
        model.graph.output.append(onnx.helper.make_tensor_value_info("stem/normalize", onnx.TensorProto.FLOAT, None))
        images = rng.random((2, 3, height, width)).astype(np.float32)
        session = open_session(model.SerializeToString())
        logits, seen = session.run(["logits", "stem/normalize"], {"images": images})
        assert logits.shape == (2, 10)
        assert seen.shape[1:] == normalized


def test_a_resnet_adds_before_its_relu(rng):
    space = SPACES.get("resnet-digits")()
    graph = space.subnet(space.sample(1, rng)[0]).graph
    consumers_of = consumers(graph.nodes)
    for node in graph.nodes:
        if isinstance(node, Add):
            assert [type(consumer).__name__ for consumer in consumers_of[node.name]] == ["Relu"]


def test_spaces_that_make_no_sense_are_refused():
    settings = {"input_shape": (1, 8, 8), "outputs": classes(10), "stem_width": 8}
    stages = (Stage(depths=(1,), widths=(8,)),)
    for kernels, ratios in (((), ()), ((3,), (0.5,))):
        with pytest.raises(InvalidInputError, match="either kernels, of basic blocks, or inner_ratios, of bottlenecks"):
            resnet("r", stages=stages, kernels=kernels, inner_ratios=ratios, **settings)
    with pytest.raises(InvalidInputError, match=r"kernels must be odd, got \[4\]"):
        resnet("r", stages=stages, kernels=(4,), **settings)
    with pytest.raises(InvalidInputError, match=r"resolutions must be at least 1, got \[0\]"):
        resnet("r", stages=stages, kernels=(3,), resolutions=(0, 8), **settings)
    with pytest.raises(InvalidInputError, match="at least 2 classes to tell apart, got 1"):
        classes(1)
