"""What is timed for a table: copies of blocks whose weights pass once, and networks that are not all uniform."""

from dataclasses import replace

import numpy as np
import onnx

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


def test_shares_of_formats_differ_between_networks_that_are_drawn():
    space = SPACES.get("mobilenet-digits")()
    genes = format_genes(space)
    genomes = draw(space, 60, np.random.default_rng(0))
    assert (genomes == space.canonicalize(genomes)).all()
    names = space.choices[genes[0]].options
    active = space.mask(genomes)[:, genes]
    shares = np.array([((genomes[:, genes] == i) & active).sum(axis=1) / active.sum(axis=1) for i in range(len(names))]).T
    assert (shares.max(axis=0) > 0.8).all()  # each format prevails in some network
    assert shares.max(axis=1).mean() > 0.55


def test_a_space_without_formats_is_drawn_as_it_is():
    space = SPACES.get("mobilenet-digits")(formats=("float32",))
    drawn, sampled = (f(space, 5, np.random.default_rng(0)) for f in (draw, lambda s, n, rng: s.sample(n, rng)))
    assert (drawn == sampled).all()


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
