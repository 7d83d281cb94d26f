"""What is timed for a table: copies of blocks whose weights pass once, and networks that are not all uniform."""

from dataclasses import replace

import numpy as np
import onnx
import pytest

from latency_tables.device import Device
from latency_tables.remote.bundle import digest
from latency_tables.table.build import build_table
from latency_tables.table.latency_model import copied
from latency_tables.table.plan import draw, plan_table
from latency_tables.timing.measurement import Measurement
from latency_tables.timing.protocol import Protocol
from search_spaces import SPACES
from search_spaces.graph.signature import signature
from search_spaces.lowering import lower
from search_spaces.space.baselines import baselines, format_genes, uniform_genome
from search_spaces.space.choice import Choice
from search_spaces.space.space import SearchSpace

NONE = np.empty((0, 0), np.int16)


def test_blocks_of_text_are_timed_as_copies_with_weights_of_their_own():
    space = SPACES.get("decoder-tiny")((32,)).at("decode")
    plan = plan_table(space, n_fit=10, n_held_out=10, rng=np.random.default_rng(0))
    name = next(name for name in plan.parts if "causalattention" in name and "w4a8d" in name and "||" not in name)
    n = plan.copies[name]
    assert 1 < n <= len(space.slots)
    graph = plan.graphs[name]
    assert len(graph.nodes) == n * len(plan.parts[name].nodes)
    model = lower(graph)
    assert len(model.graph.output) == n + 2 * n  # and what attention keeps
    packed = [
        onnx.numpy_helper.to_array(t).tobytes() for t in model.graph.initializer if t.name.endswith("project/weight/packed")
    ]
    assert len(set(packed)) == len(packed) == n
    assert "call" not in plan.copies


def test_what_a_block_is_tied_to_is_copied_too():
    space = SPACES.get("decoder-tiny")((32,)).at("decode")
    head = space.blocks[-1].values.flat[0]
    twice = copied(plan_table(space, n_fit=10, n_held_out=10, rng=np.random.default_rng(0)).parts[signature(head)], 2)
    tables = {node.tied_to for node in twice.nodes if getattr(node, "tied_to", "")}
    assert tables == {"copy0/embedding/table", "copy1/embedding/table"}


def test_one_of_several_copies_takes_its_share_and_a_call():
    timed = Measurement((10.0, 22.0), (True, False))
    assert timed.of_one(4, 2.0).rounds == (4.0, 7.0)
    assert timed.of_one(1, 2.0) is timed
    assert timed.of_one(4, 11.0).rounds[0] == 11.0


def test_images_are_timed_as_before_and_half_of_the_fitted_networks_are_random(tiny_space):
    plan = plan_table(tiny_space, n_fit=10, n_held_out=10, rng=np.random.default_rng(0))
    assert not plan.copies
    assert all(plan.graphs[name] is graph for name, graph in plan.parts.items())
    uniform = {genome.tobytes() for genome in baselines(tiny_space).values()}
    fitted = list(plan.networks.values())[:10]
    assert sum(subnet.genome.tobytes() in uniform for subnet in fitted) <= 6


@pytest.mark.parametrize("seed", range(3))
def test_shares_of_formats_differ_between_networks_that_are_drawn(seed):
    space = SPACES.get("mobilenet-digits")()
    genes = format_genes(space)
    genomes = draw(space, 60, np.random.default_rng(seed), besides=NONE)
    assert (genomes == space.canonicalize(genomes)).all()
    names = space.choices[genes[0]].options
    active = space.mask(genomes)[:, genes]
    shares = np.array([((genomes[:, genes] == i) & active).sum(axis=1) / active.sum(axis=1) for i in range(len(names))]).T
    assert (shares.max(axis=0) > 0.8).all()  # each format prevails in some network
    assert shares.max(axis=1).mean() > 0.68  # 0.53 to 0.59 if every block is drawn alike


def test_a_space_without_formats_is_drawn_as_it_is():
    space = SPACES.get("mobilenet-digits")(formats=("float32",))
    drawn = draw(space, 5, np.random.default_rng(0), besides=NONE)
    assert (drawn == space.sample(5, np.random.default_rng(0))).all()


def a_chain(formats):
    """A space of formats alone: a block for each, one behind another."""
    choices = [Choice(f"b{i}/format", offered) for i, offered in enumerate(formats)]
    return SearchSpace("chain", choices, [])


def test_blocks_that_offer_different_formats_take_of_their_own():
    names = ("float32", "w8a8", "w4a8")
    space = a_chain([names, ("w4a8", "float32"), names[:2], ("w8a8",)] * 6)
    genomes = draw(space, 40, np.random.default_rng(0), besides=NONE)
    for name in ("float32", "w4a8"):  # where one prevails among the first blocks it does among the second ones
        shares = [
            np.mean([[space.choices[g].options[row[g]] == name for g in range(first, 24, 4)] for row in genomes], axis=1)
            for first in (0, 1)
        ]
        assert np.corrcoef(shares)[0, 1] > 0.5


def test_networks_to_hold_out_are_no_others_than_distinct_ones():
    space = a_chain([("float32", "w8a8", "w4a8")] * 4)
    uniform = np.array([[i] * 4 for i in range(3)], np.int16)
    for seed in range(5):
        genomes = draw(space, 25, np.random.default_rng(seed), besides=uniform)
        assert len({genome.tobytes() for genome in (*uniform, *genomes)}) == 28
    few = a_chain([("float32", "w8a8")] * 2)
    assert draw(few, 9, np.random.default_rng(0), besides=NONE).shape == (9, 2)  # of four


def test_networks_are_named_so_that_times_of_others_are_not_taken_for_theirs(tiny_space):
    plans = [plan_table(tiny_space, n_fit=10, n_held_out=10, rng=np.random.default_rng(seed)) for seed in (0, 1)]
    same = plans[0].networks.keys() & plans[1].networks.keys()
    assert all(plans[0].networks[name].id == plans[1].networks[name].id for name in same)
    assert len(same) < 10


def test_a_table_of_copies_predicts_whole_networks():
    space = SPACES.get("decoder-tiny")((32,)).at("decode")
    plan = plan_table(space, n_fit=12, n_held_out=10, rng=np.random.default_rng(0))
    table = build_table(plan, Device(), Protocol(rounds=2, seconds=0.002, retry_budget=0.0))
    assert set(table.measurements) == set(plan.parts)
    predicted = table.predict_ms(space, space.sample(20, np.random.default_rng(1)))
    assert np.isfinite(predicted).all()
    assert (predicted > 0).all()


def test_copies_hold_no_more_bytes_than_the_largest_network_and_a_block():
    space = SPACES.get("decoder-tiny")((32,)).at("decode")
    plan = plan_table(space, n_fit=10, n_held_out=10, rng=np.random.default_rng(0))
    largest = held(space.subnet(uniform_genome(space, "largest")).graph)
    for name, graph in plan.graphs.items():
        if name in plan.parts:
            assert held(graph) <= largest + held(plan.parts[name]), name


def held(graph):
    return sum(len(tensor.raw_data) for tensor in lower(graph).graph.initializer)


def test_a_bundle_of_single_blocks_is_not_one_of_copies():
    space = SPACES.get("decoder-tiny")((32,)).at("decode")
    plan = plan_table(space, n_fit=10, n_held_out=10, rng=np.random.default_rng(0))
    assert digest(plan, Device()) != digest(replace(plan, copies={}), Device())
