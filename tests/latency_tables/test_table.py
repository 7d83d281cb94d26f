import json

import numpy as np
import pytest

from latency_tables.build import judge
from latency_tables.pricing import FEATURES, Parts, block_key, features, fit, graph_features, iterate_parts, prior
from latency_tables.table import LatencyTable
from latency_tables.timing import Measurement
from search_spaces import InvalidInput
from search_spaces.baselines import uniform_genome
from search_spaces.graph import FLOAT32, INT8, W8A8, Conv, Input


def hand_made_blocks():
    shape = (2, 4, 4)
    floats = (Input(name="i", shape=shape), Conv(name="c", inputs=("i",), shape=shape, in_channels=2, kernel=3))
    integers = (
        Input(name="i", shape=shape, precision=W8A8),
        Conv(name="c", inputs=("i",), shape=shape, in_channels=2, kernel=3, precision=W8A8),
    )
    return floats, integers


def test_features_by_hand():
    floats, integers = hand_made_blocks()
    parts = Parts({block_key(floats): 1.0, block_key(integers): 0.8}, {(2, 4, 4): 0.3}, call=0.1)
    assert dict(zip(FEATURES, features(parts, FLOAT32, floats), strict=True)) == pytest.approx(
        {"float_ms": 0.9, "integer_ms": 0, "float_blocks": 1, "integer_blocks": 0, "to_integer_ms": 0, "to_float_ms": 0}
    )
    # An isolated integer block holds a quantization and a dequantization: a border's 0.2 ms beyond the call.
    assert features(parts, INT8, integers) == pytest.approx([0, 0.8 - 0.1 - 0.2, 0, 1, 0, 0])
    assert features(parts, FLOAT32, integers) == pytest.approx([0, 0.5, 0, 1, 0.2, 0])
    assert features(parts, INT8, floats) == pytest.approx([0.9, 0, 1, 0, 0, 0.2])
    assert prior(parts) == pytest.approx([0.1, 1, 1, 0, 0, 0.5, 0.5])


def test_fit_finds_the_line_that_made_the_data(tiny_space, rng, make_table):
    parts = make_table(tiny_space).parts
    graphs = [tiny_space.graph(tiny_space.architecture(g)) for g in tiny_space.sample(200, rng)]
    rows = np.array([[1.0, *graph_features(parts, graph)] for graph in graphs])
    true = np.array([0.02, 1.1, 0.9, 0.001, 0.002, 0.4, 0.6])
    fitted = fit(parts, graphs, rows @ true)
    assert rows @ fitted == pytest.approx(rows @ true, rel=0.02)
    before = np.abs(rows @ prior(parts) - rows @ true).mean()
    assert np.abs(rows @ fitted - rows @ true).mean() < before / 10


def test_genomes_and_graphs_are_priced_alike(tiny_space, rng, make_table):
    table = make_table(tiny_space)
    genomes = tiny_space.sample(100, rng)
    graphs = [tiny_space.graph(tiny_space.architecture(genome)) for genome in genomes]
    assert table.predict_ms(tiny_space, genomes) == pytest.approx([table.predict_graph_ms(graph) for graph in graphs])


def test_every_block_of_every_network_is_measured(tiny_space, rng):
    names = {name for name, _ in iterate_parts(tiny_space)}
    for genome in tiny_space.sample(100, rng):
        for _, block in tiny_space.graph(tiny_space.architecture(genome)).arrivals:
            assert block_key(block) in names


def test_json_round_trip(tiny_space, rng, make_table):
    table = make_table(tiny_space)
    again = LatencyTable.from_json(table.to_json(), "t.json")
    genomes = tiny_space.sample(10, rng)
    assert (again.predict_ms(tiny_space, genomes) == table.predict_ms(tiny_space, genomes)).all()
    assert again.report == table.report
    assert table.to_csv().splitlines()[0] == "part,latency_ms,spread"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(unit="s"), "'t.json' must be in ms, got 's'"),
        (lambda c: c.update(version=99), "'t.json' is no latency table of version 1"),
        (lambda c: c["measurements"].update(call=[[0.0], [True]]), "holds times that are not positive"),
        (lambda c: c["measurements"].update(call=[[], []]), "holds times that are not positive"),
        (lambda c: c.pop("report"), "'t.json' is damaged"),
        (lambda c: c.update(coefficients=[1.0]), "holds times that are not positive"),
        (lambda c: c.update(measurements=3), "'t.json' is damaged"),
        (lambda c: c.update(fingerprint=[1]), "'t.json' is damaged"),
        (lambda c: c.update(coefficients=[float("nan")] * 7), "holds numbers that are not finite"),
        (lambda c: c["report"].update(mape="x"), "'t.json' is damaged"),
        (lambda c: c["measurements"].update(call=[[1.0, 1.0], [True]]), "rounds and marks differ in number"),
        (lambda c: c["measurements"].pop("call"), "'t.json' is damaged"),
        (lambda c: c["measurements"].update({"border xxx": [[1.0], [True]]}), "'t.json' is damaged"),
    ],
)
def test_damaged_tables_are_refused(tiny_space, change, message, make_table):
    content = json.loads(make_table(tiny_space).to_json())
    change(content)
    with pytest.raises(InvalidInput, match=message):
        LatencyTable.from_json(json.dumps(content), "t.json")


def test_truncated_table_is_refused(tiny_space, make_table):
    text = make_table(tiny_space).to_json()
    for length in range(0, len(text), 997):
        with pytest.raises(InvalidInput, match="'t.json' is damaged"):
            LatencyTable.from_json(text[:length], "t.json")


def test_foreign_tables_are_refused(tiny_space, make_table):
    table = make_table(tiny_space, {"cpu": "a", "threads": 1, "version": "1.31"})
    table.check_device({"cpu": "a", "threads": 1, "version": "1.31"})
    with pytest.raises(InvalidInput, match=r"was measured elsewhere \(threads was 1, is 2; version was 1.31, is 1.32\)"):
        table.check_device({"cpu": "a", "threads": 2, "version": "1.32"})


def test_other_space_or_blocks_are_refused(tiny_space, rng, make_table):
    from search_spaces import SPACES

    table = make_table(tiny_space)
    other = SPACES.get("mobilenet-digits")()
    with pytest.raises(InvalidInput, match="the table is of space 'tiny', not 'mobilenet-digits'"):
        table.predict_ms(other, other.sample(1, rng))
    grown = SPACES.get("mobilenet-digits")(input_shape=(1, 16, 16))
    grown.name = "tiny"
    with pytest.raises(InvalidInput, match="lacks the block"):
        table.predict_ms(grown, grown.sample(1, rng))


def measurements(times, spread=0.01):
    return [Measurement((t, t * (1 + spread), t), (True,) * 3) for t in times]


def test_verdict():
    true = np.linspace(1, 2, 40)
    good = judge(measurements(true), true * 1.01, n_fit=40, disturbed=0.0, minutes=1.0)
    assert good.is_valid
    assert good.mape == pytest.approx(1.0)
    assert good.tau == pytest.approx(1.0)
    far = judge(measurements(true), true * 1.1, n_fit=40, disturbed=0.0, minutes=1.0)
    assert far.reasons == ("mean error 10.0 % on held-out networks is above 5.0 %",)
    noisy = judge(measurements(true, spread=0.1), true * 1.1, n_fit=40, disturbed=0.0, minutes=1.0)
    assert noisy.is_valid
    wrong = judge(measurements(true), true.mean() + 0.001 * true[::-1], n_fit=40, disturbed=0.2, minutes=1.0)
    assert [reason.split(" on ")[0] for reason in wrong.reasons] == [
        "mean error 18.2 %",
        "Kendall tau -1.000",
        "the machine was never undisturbed for 20 % of what was timed",
    ]


def test_uniform_networks_have_no_borders_but_their_own(tiny_space, make_table):
    parts = make_table(tiny_space).parts
    for name in ("float32", "w8a8", "w4a4"):
        graph = tiny_space.graph(tiny_space.architecture(uniform_genome(tiny_space, "largest", name)))
        assert (graph_features(parts, graph)[4:] == 0).all()
