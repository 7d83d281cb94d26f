from pathlib import Path

import numpy as np
import pytest

from latency_tables.analytical import Accelerator
from search_spaces import InvalidInputError
from search_spaces.operators.conv import Conv
from search_spaces.operators.ends import Input
from search_spaces.precision.placement import place_quantizers
from search_spaces.precision.scheme import FLOAT, QuantScheme
from search_spaces.space.baselines import formats, uniform_genome

YAML = Path(__file__).parents[2] / "experiments" / "devices" / "bitserial.yaml"


def accelerator(**changes):
    settings = {
        "name": "toy",
        "source": "by hand",
        "clock_mhz": 1000,
        "products_per_cycle": 16,
        "float_macs_per_cycle": 1,
        "bandwidth_gb_s": 1,
        "buffer_bytes": 1e9,
        "pj_per_product": 1,
        "pj_per_float_mac": 100,
        "pj_per_byte": 1000,
    }
    return Accelerator(**(settings | changes))


def layer(name):
    """One 3x3 convolution of 2 to 4 channels on 8x8: 64 * 4 * 18 = 4608 MACs and 72 weights."""
    precision = FLOAT if name == "float32" else QuantScheme.from_name(name)
    block = (
        Input(name="i", shape=(2, 8, 8), precision=precision),
        Conv(name="c", inputs=("i",), shape=(4, 8, 8), in_channels=2, kernel=3, precision=precision),
    )
    return place_quantizers(block, [precision.border])


@pytest.mark.parametrize(
    ("name", "nanoseconds", "picojoules"),
    [
        ("float32", 4608, 4608 * 100 + 72 * 4 * 1000),
        ("w8a8", 4608, 4608 * 16 + 72 * 1000),  # 16 products of 2 bits for 8x8, 16 a cycle
        ("w4a8", 2304, 4608 * 8 + 36 * 1000),
        ("w3a8", 2304, 4608 * 8 + 27 * 1000),  # 3 bits are rounded up to 4, but stored as 3
        ("w2a8", 1152, 4608 * 4 + 18 * 1000),
    ],
)
def test_compute_bound_layers_by_hand(name, nanoseconds, picojoules):
    source = FLOAT.border if name == "float32" else QuantScheme.from_name(name).border
    costs = accelerator().costs(layer(name), [source])
    assert costs["estimated_ms"] == pytest.approx(nanoseconds / 1e6)
    assert costs["estimated_mj"] == pytest.approx(picojoules / 1e9)


def test_memory_bound_layers_by_hand():
    small = accelerator(buffer_bytes=100, bandwidth_gb_s=0.01)
    moved = 72 + 128 + 256  # weights, input and output of a byte each
    assert small.costs(layer("w8a8"), [QuantScheme.from_name("w8a8").border])["estimated_ms"] == pytest.approx(
        moved / 0.01 / 1e6
    )


def test_tables_agree_with_graphs(tiny_space):
    model = accelerator(buffer_bytes=2000, bandwidth_gb_s=0.5)
    tables = model.tables(tiny_space)
    genomes = tiny_space.sample(60, np.random.default_rng(0))
    for name, table in tables.items():
        graphs = [tiny_space.subnet(genome).graph for genome in genomes]
        assert table(genomes) == pytest.approx([model.graph_costs(graph)[name] for graph in graphs])


def test_fewer_bits_cost_less(make_tiny_space):
    model = Accelerator.from_yaml(YAML)
    space = make_tiny_space(("w8a8", "w4a4"))
    tables = model.tables(space)
    eight, four = (uniform_genome(space, "largest", name)[None] for name in ("w8a8", "w4a4"))
    assert tables["estimated_ms"](four) < tables["estimated_ms"](eight)
    assert tables["estimated_mj"](four) < tables["estimated_mj"](eight)


def test_a_space_is_narrowed_to_what_has_kernels(tiny_space, make_tiny_space):
    model = Accelerator.from_yaml(YAML)
    with pytest.raises(
        InvalidInputError, match=r"no kernel for \['float32'\]; narrow the space with `formats: \[w8a8, w4a4\]`"
    ):
        model.tables(tiny_space)
    with pytest.raises(InvalidInputError, match="no kernel for float32, which 'stem/conv' computes in"):
        model.graph_costs(tiny_space.subnet(uniform_genome(tiny_space, "smallest", "float32")).graph)
    narrow = make_tiny_space(("w4a4", "w8a8"))
    assert formats(narrow) == ["w8a8", "w4a4"]
    assert narrow.size < tiny_space.size
    graph = narrow.subnet(uniform_genome(narrow, "smallest", "w4a4")).graph
    whole = tiny_space.subnet(uniform_genome(tiny_space, "smallest", "w4a4")).graph
    assert graph == whole
    with pytest.raises(InvalidInputError, match=r"no kernel for \['e4m3'\]"):
        model.tables(make_tiny_space(("w4a4", "e4m3")))


def test_bad_parameters_are_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="clock_mhz of accelerator 'toy' must be above 0, got 0"):
        accelerator(clock_mhz=0)
    with pytest.raises(InvalidInputError, match="pj_per_byte of accelerator 'toy' must be 0 or more, got -1"):
        accelerator(pj_per_byte=-1)
    file = tmp_path / "a.yaml"
    for text, message in (
        ("[1]", "must hold keys among"),
        ("clok: 1", "must hold keys among"),
        ("name: a", "missing"),
        ("{", "cannot read"),
    ):
        file.write_text(text)
        with pytest.raises(InvalidInputError, match=message):
            Accelerator.from_yaml(file)
