import numpy as np
import pytest

from search_spaces import SPACES
from search_spaces.graph.signature import signature
from search_spaces.operators.conv import Conv
from search_spaces.operators.linear import Linear
from search_spaces.operators.quantize import Quantize
from search_spaces.precision.formats import FLOAT32, NumberFormat
from search_spaces.precision.placement import place_quantizers
from search_spaces.space.baselines import uniform_genome


def formats_of(graph):
    return {node.inputs[0]: (node.format.bits, node.format.signed) for node in graph.nodes if isinstance(node, Quantize)}


def test_float_network_has_no_quantizer(tiny_space):
    graph = tiny_space.subnet(uniform_genome(tiny_space, "largest", "float32")).graph
    assert not formats_of(graph)


def test_bits_inside_and_between_blocks(tiny_space):
    graph = tiny_space.subnet(uniform_genome(tiny_space, "smallest", "w4a4")).graph
    assert formats_of(graph) == {
        "stem/normalize": (8, True),
        "stem/relu": (8, False),
        "stage1/block1/relu1": (4, False),
        "stage1/block1/relu2": (4, False),
        "stage1/block1/project": (8, True),
        "stage1/block1/add": (8, True),
        "stage2/block1/relu1": (4, False),
        "stage2/block1/relu2": (4, False),
        "stage2/block1/project": (8, True),
        "head/pool": (8, True),
    }


def test_stem_and_head_follow_their_neighbours(tiny_space):
    first, last = tiny_space.gene["stage1/block1/format"], tiny_space.gene["stage2/block1/format"]
    for stem, head in [(0, 0), (0, 1), (1, 0), (2, 2)]:
        genome = np.zeros(len(tiny_space.choices), np.int16)
        genome[[first, last]] = stem, head
        graph = tiny_space.subnet(genome).graph
        names = ["float32", "w8a8", "w8a8"]
        assert graph["stem/conv"].precision.name == names[stem]
        assert graph["head/linear"].precision.name == names[head]


def test_input_is_converted_once_for_branch_and_shortcut(tiny_space):
    genome = np.zeros(len(tiny_space.choices), np.int16)
    genome[tiny_space.gene["stage1/depth"]] = 1
    genome[tiny_space.gene["stage1/block2/format"]] = 1
    graph = tiny_space.subnet(genome).graph
    (converted,) = [n for n in graph.nodes if isinstance(n, Quantize) and n.name.startswith("stage1/block2/input")]
    consumers_of = [node.name for node in graph.nodes if converted.name in node.inputs]
    assert consumers_of == ["stage1/block2/expand", "stage1/block2/add"]


def test_signature_ignores_names_and_weight_bits(tiny_space):
    from dataclasses import replace

    from search_spaces.precision.scheme import QuantScheme

    block = next(b for b in tiny_space.distinct_blocks() if b[0].precision.name == "w8a8" and len(b) > 5)
    narrow = tuple(replace(node, precision=QuantScheme(NumberFormat(4), NumberFormat(8))) for node in block)
    low = tuple(replace(node, precision=QuantScheme(NumberFormat(4), NumberFormat(4))) for node in block)
    renamed = tuple(replace(n, name=f"x/{n.name}", inputs=tuple(f"x/{i}" for i in n.inputs)) for n in block)
    own = signature(place_quantizers(block, [FLOAT32]))
    assert own == signature(place_quantizers(narrow, [FLOAT32])) == signature(place_quantizers(renamed, [FLOAT32]))
    assert own != signature(place_quantizers(low, [FLOAT32]))
    assert any(isinstance(node, Conv) for node in block)


def test_a_minifloat_rounds_what_is_multiplied_and_not_what_is_added(make_tiny_space):
    space = make_tiny_space(("e2m1",))
    graph = space.subnet(np.zeros(len(space.choices), np.int16)).graph
    assert graph["stage1/block1/add"].inputs == ("stem/relu", "stage1/block1/project")
    for node in graph.nodes:
        if isinstance(node, Conv | Linear):
            assert isinstance(graph[node.inputs[0]], Quantize) == node.precision.is_minifloat


@pytest.mark.parametrize("suffix", ["", "-asymmetric"])
def test_what_cannot_be_negative_has_no_bit_for_a_sign(suffix):
    space = SPACES.get("mobilenet-v3-digits")(formats=(f"w4a4{suffix}",))
    graph = space.subnet(np.zeros(len(space.choices), np.int16)).graph
    found = {n.inputs[0]: n.format for n in graph.nodes if isinstance(n, Quantize)}
    behind_relu = [f"stage1/block1/{part}" for part in ("squeeze/pool", "squeeze/relu", "squeeze/gate", "squeeze/multiply")]
    behind_swish = [f"stage2/block1/{part}" for part in ("squeeze/pool", "squeeze/multiply", "relu1", "expand")]
    assert {found[name] for name in behind_relu} == {NumberFormat(4, signed=False)}
    assert {found[name] for name in behind_swish} == {NumberFormat(4, asymmetric=bool(suffix))}
