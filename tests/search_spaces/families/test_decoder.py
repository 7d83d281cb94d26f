from dataclasses import replace

import numpy as np
import pytest

from nas.objectives.objective import OBJECTIVES
from search_spaces import SPACES, Decoder, InvalidInputError, SearchSpace, cost_table, decoder, graph_costs
from search_spaces.costs import cache_bytes
from search_spaces.families.decoder import offered_formats
from search_spaces.space.baselines import baselines
from search_spaces.space.narrowing import NarrowedSpace

SIZES = {"vocabulary": 50, "width": 64, "depth": 4, "kv_heads": 2, "group": 2, "head_depth": 16, "mlp_width": 128}
SHAPE = Decoder(context=32, **SIZES)
ELASTIC = {"depths": (2, 3, 4), "kv_heads": (1, 2), "mlp_widths": (64, 128)}


def small(**changes) -> SearchSpace:
    return decoder("small", SHAPE, **{**ELASTIC, "formats": ("float32", "w8a8", "w4a8d-g32"), **changes})


def test_phases_are_readings_of_one_space():
    space = small()
    genome = space.sample(1, np.random.default_rng(0))[0]
    graphs = {phase: space.at(phase).build(genome) for phase in ("", "prefill", "decode")}
    weights = {p: {(n.name, s.role): s.shape for n in g.nodes for s in n.weights()} for p, g in graphs.items()}
    assert weights[""] == weights["prefill"] == weights["decode"]
    assert [graphs[p].nodes[0].shape for p in graphs] == [(32,), (16,), (1,)]
    assert [graphs[p].output.shape for p in graphs] == [(32, 50), (1, 50), (1, 50)]
    caches = [node for node in graphs["decode"].nodes if node.states]
    assert caches
    assert all(node.cache_shape[1] == 32 for node in caches)
    assert space.at("decode") is space.at("decode")
    assert space.at("") is space
    with pytest.raises(InvalidInputError, match="have no phase 'decoding'; phases are: prefill, decode"):
        space.at("decoding")
    with pytest.raises(InvalidInputError, match="phases are: none"):
        SPACES.get("vit-digits")().at("decode")


def test_a_part_has_the_phases_of_the_whole():
    part = NarrowedSpace(small(), {"depth": (2,)})
    genome = part.sample(1, np.random.default_rng(0))[0]
    assert part.at("decode").build(genome).nodes[0].shape == (1,)
    assert part.at("decode").origin is part.origin.at("decode")


def test_layers_are_left_out_in_an_order():
    def layers(space, depth):
        genome = space.sample(1, np.random.default_rng(0))[0]
        genome[0] = space.choices[0].options.index(depth)
        return sorted({b.split("/")[0] for b in space.subnet(genome).graph.blocks if b.startswith("layer")})

    assert layers(small(), 2) == ["layer1", "layer4"]
    assert layers(small(order=(1, 2)), 2) == ["layer3", "layer4"]
    assert layers(small(order=(1, 2)), 3) == ["layer2", "layer3", "layer4"]


def test_tables_of_costs_are_those_of_graphs():
    space, rng = small(), np.random.default_rng(0)
    genomes = np.concatenate([space.sample(30, rng), list(baselines(space).values())])
    for name in ("size_bytes", "macs", "parameters"):
        expected = [graph_costs(space.subnet(genome).graph)[name] for genome in genomes]
        assert cost_table(space, name)(genomes).tolist() == expected
    kept = [cache_bytes(space.at("decode").build(space.canonicalize(g[None])[0]).nodes) for g in genomes]
    assert OBJECTIVES.get("kv_cache_bytes")(space)(genomes).tolist() == kept
    read = OBJECTIVES.get("decode_bytes")(space)(genomes)
    assert read.tolist() == (cost_table(space, "size_bytes")(genomes) + kept).tolist()
    assert OBJECTIVES.get("kv_cache_bytes")(SPACES.get("vit-digits")())(np.zeros((2, 11), int)).tolist() == [0, 0]


def test_a_cache_of_integers_takes_a_quarter():
    space = small(formats=("float32", "w8a8", "w4a8d-g32", "kv8"))
    assert offered_formats(space) == ["float32", "w8a8", "w4a8d-g32", "kv8"]
    assert [choice.name for choice in space.choices][:2] == ["depth", "cache_bits"]
    genomes = np.repeat(space.sample(1, np.random.default_rng(0)), 2, axis=0)
    genomes[:, 1] = 0, 1
    integers, floats = OBJECTIVES.get("kv_cache_bytes")(space)(genomes)
    assert floats == 4 * integers > 0
    whole = space.at("decode").build(genomes[0]).nodes
    assert {state.dtype for node in whole for state in node.states} == {"int8"}
    sizes = cost_table(space, "size_bytes")(genomes)
    assert sizes[0] == sizes[1]


def test_tied_tables_count_once():
    tied, apart = small(), decoder("apart", replace(SHAPE, is_tied=False), **ELASTIC, formats=("float32",))
    sizes = [cost_table(s, "parameters")(np.zeros((1, len(s.choices)), np.int16))[0] for s in (tied, apart)]
    assert sizes[1] - sizes[0] == 50 * 64


def test_baselines_are_every_uniform_scheme():
    assert list(baselines(small()))[:3] == ["float32 smallest", "float32 middle", "float32 largest"]
    assert len(baselines(small())) == 9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"formats": ("kv8",)}, "formats: 'kv8' is that of the cache; name one of weights beside it"),
        ({"formats": ("w4a8d-g128",)}, r"groups of 'w4a8d-g128' do not divide the widths \[32, 64\]"),
        ({"depths": (0, 4)}, "depths of space 'small' are numbers from 1 up to 4"),
        ({"kv_heads": (1,)}, "kv_heads of space 'small' are numbers from 1 up to 2, which is among them"),
        ({"order": (2,), "depths": (2, 4)}, "cannot leave out 2 layers in the order"),
        ({"formats": ("w9a8",)}, "a format is"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(InvalidInputError, match=message):
        small(**changes)


def test_heads_have_a_depth_that_kernels_take():
    with pytest.raises(InvalidInputError, match="head_depth of space 'x' must be a multiple of 16, got 24"):
        decoder("x", replace(SHAPE, head_depth=24), **ELASTIC)
