import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from latency_tables.table.latency_model import (
    FEATURES,
    block_features,
    block_key,
    consumer_key,
    fit,
    iterate_parts,
    network_features,
    prior,
    producer_key,
    sort_parts,
    transition_features,
    transition_key,
)
from latency_tables.table.table import LatencyTable, Report
from latency_tables.table.validate import doubts, validate
from latency_tables.timing.measurement import Measurement
from latency_tables.timing.protocol import Timings
from nas.report.table import validation_summary
from search_spaces import InvalidInputError
from search_spaces.errors import DamagedFileError, HwnasError
from search_spaces.operators.conv import Conv
from search_spaces.operators.ends import Input
from search_spaces.precision.scheme import W8A8
from search_spaces.space.assembly import Assembly, Edge
from search_spaces.space.baselines import uniform_genome


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
    assert (producer_key(floats), consumer_key(integers)) == ("2x4x4 float32 conv", "2x4x4 int8 conv")
    changed = transition_key(producer_key(floats), consumer_key(integers))
    assert changed == "join 2x4x4 float32 conv > 2x4x4 int8 conv"
    ms = {"call": 0.1, block_key(floats): 1.0, block_key(integers): 0.8}
    ms[f"{changed} || {block_key(floats)} || {block_key(integers)}"] = 1.5
    parts = sort_parts(ms)
    assert parts.transitions == pytest.approx({changed: 1.5 - 1.0 - 0.8 + 0.1})
    assert dict(zip(FEATURES, block_features(parts, floats), strict=True)) == pytest.approx(
        dict.fromkeys(FEATURES, 0) | {"float_ms": 0.9, "float_blocks": 1}
    )
    assert block_features(parts, integers) == pytest.approx([0, 0.7, 0, 1, 0, 0, 0])
    assert transition_features(parts, producer_key(floats), consumer_key(integers)) == pytest.approx(
        [0, 0, 0, 0, 0, -0.2, 1]
    )
    chain = Assembly(("a", "b"), (floats, integers), (Edge(0, 1),))
    assert network_features(parts, chain) == pytest.approx([0.9, 0.7, 1, 1, 0, -0.2, 1])
    # Before any network is measured, a chain of two costs what the chain of two took.
    assert np.array([1.0, *network_features(parts, chain)]) @ prior(parts) == pytest.approx(1.5)


def test_joins_that_differ_in_shape_only_lie_on_a_line():
    ms = {"call": 0.0, "a": 1.0, "b": 1.0}
    for channels, extra in ((1000, 1.0), (2000, 2.2), (3000, 2.8)):
        ms[f"join {channels}x1x1 float32 conv > {channels}x1x1 float32 add conv || a || b"] = 2.0 + extra
    prices = list(sort_parts(ms).transitions.values())
    assert prices[1] - prices[0] == pytest.approx(prices[2] - prices[1])
    assert prices == pytest.approx([1.0, 2.0, 3.0], abs=0.25)


def test_fit_finds_the_line_that_made_the_data(tiny_space, rng, make_table):
    parts = make_table(tiny_space).parts
    networks = [subnet.assembly for subnet in tiny_space.subnets(tiny_space.sample(200, rng))]
    rows = np.array([[1.0, *network_features(parts, network)] for network in networks])
    true = np.array([0.02, 1.1, 0.9, 0.001, 0.002, 1.2, 0.8, 0.001])
    fitted = fit(parts, networks, rows @ true)
    assert rows @ fitted == pytest.approx(rows @ true, rel=0.02)
    before = np.abs(rows @ prior(parts) - rows @ true).mean()
    assert np.abs(rows @ fitted - rows @ true).mean() < before / 10


def test_genomes_and_networks_are_priced_alike(tiny_space, rng, make_table):
    table = make_table(tiny_space)
    genomes = tiny_space.sample(100, rng)
    networks = [subnet.assembly for subnet in tiny_space.subnets(genomes)]
    rows = np.array([[1.0, *network_features(table.parts, network)] for network in networks])
    assert table.predict_ms(tiny_space, genomes) == pytest.approx(rows @ np.array(table.coefficients))


def test_every_block_of_every_network_is_measured(tiny_space, rng):
    names = {name for name, _ in iterate_parts(tiny_space)}
    transitions = {name.split(" || ")[0] for name in names if " || " in name}
    for genome in tiny_space.sample(100, rng):
        blocks = tiny_space.subnet(genome).assembly.blocks
        assert {block_key(block) for block in blocks} <= names
        assert {transition_key(producer_key(a), consumer_key(b)) for a, b in pairwise(blocks)} <= transitions


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
        (lambda c: c.update(version=99), "'t.json' is no latency table of version 2"),
        (lambda c: c["measurements"].update(call=[[0.0], [True]]), "holds times that are not positive"),
        (lambda c: c["measurements"].update(call=[[], []]), "holds times that are not positive"),
        (lambda c: c.pop("report"), "'t.json' is damaged"),
        (lambda c: c.update(coefficients=[1.0]), "holds times that are not positive"),
        (lambda c: c.update(measurements=3), "'t.json' is damaged"),
        (lambda c: c.update(fingerprint=[1]), "'t.json' is damaged"),
        (lambda c: c.update(coefficients=[float("nan")] * 8), "holds numbers that are not finite"),
        (lambda c: c["report"].update(mape="x"), "'t.json' is damaged"),
        (lambda c: c["measurements"].update(call=[[1.0, 1.0], [True]]), "rounds and marks differ in number"),
        (lambda c: c["measurements"].pop("call"), "'t.json' is damaged"),
        (lambda c: c["measurements"].update({"join x > y || a || b": [[1.0], [True]]}), "'t.json' is damaged"),
    ],
)
def test_damaged_tables_are_refused(tiny_space, change, message, make_table):
    content = json.loads(make_table(tiny_space).to_json())
    change(content)
    with pytest.raises(HwnasError, match=message):
        LatencyTable.from_json(json.dumps(content), "t.json")


def test_truncated_table_is_refused(tiny_space, make_table):
    text = make_table(tiny_space).to_json()
    for length in range(0, len(text), 997):
        with pytest.raises(DamagedFileError, match="'t.json' is damaged"):
            LatencyTable.from_json(text[:length], "t.json")


def test_foreign_tables_are_refused(tiny_space, make_table):
    table = make_table(tiny_space, {"cpu": "a", "threads": 1, "version": "1.31"})
    table.check_device({"cpu": "a", "threads": 1, "version": "1.31"})
    with pytest.raises(
        InvalidInputError, match=r"was measured elsewhere \(threads was 1, is 2; version was 1.31, is 1.32\)"
    ):
        table.check_device({"cpu": "a", "threads": 2, "version": "1.32"})


def test_other_space_or_blocks_are_refused(tiny_space, rng, make_table):
    from search_spaces import SPACES

    table = make_table(tiny_space)
    other = SPACES.get("mobilenet-digits")()
    with pytest.raises(InvalidInputError, match="the table is of space 'tiny', not 'mobilenet-digits'"):
        table.predict_ms(other, other.sample(1, rng))
    grown = SPACES.get("mobilenet-digits")(input_shape=(1, 16, 16))
    grown.name = "tiny"
    with pytest.raises(InvalidInputError, match="lacks the part"):
        table.predict_ms(grown, grown.sample(1, rng))


def measurements(times, spread=0.01):
    return [Measurement((t, t * (1 + spread), t), (True,) * 3) for t in times]


def timings(disturbed=0.0, drift=0.0):
    return Timings({}, 1.0, disturbed, drift)


def test_verdict():
    true = np.linspace(1, 2, 40)
    good = validate(measurements(true), true * 1.01, n_fit=40, timings=timings(), minutes=1.0)
    assert good.is_valid
    assert good.mape == pytest.approx(1.0)
    assert good.tau == pytest.approx(1.0)
    far = validate(measurements(true), true * 1.1, n_fit=40, timings=timings(), minutes=1.0)
    assert far.reasons == ("mean error 10.0 % on held-out networks is above 5.0 %",)
    noisy = validate(measurements(true, spread=0.05), true * 1.08, n_fit=40, timings=timings(disturbed=0.9), minutes=1.0)
    assert noisy.is_valid  # a busy machine is no reason by itself
    assert noisy.disturbed == pytest.approx(90)
    wrong = validate(
        measurements(true), true.mean() + 0.001 * true[::-1], n_fit=40, timings=timings(disturbed=0.2), minutes=1.0
    )
    assert [reason.split(" on ")[0] for reason in wrong.reasons] == [
        "mean error 18.2 %",
        "Kendall tau -1.000",
    ]


TRUE = np.linspace(1, 2, 12)
FINE: dict[str, Any] = {
    "n_fit": 12, "n_held_out": 12, "mape": 2.0, "max_error": 4.0, "tau": 0.95, "split_half": 1.0, "disturbed": 0.0,
    "is_valid": True, "reasons": (), "held_out": tuple(zip(TRUE, TRUE, strict=True)), "minutes": 1.0, "drift": 30.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("figures", "reason"),
    [
        ({"mape": 5.1}, "mean error 5.1 % on held-out networks is above 5.0 %"),
        ({"mape": 10.1, "split_half": 7.0}, "mean error 10.1 % on held-out networks is above 10.0 %"),
        ({"mape": float("nan")}, "mean error nan % on held-out networks is above 5.0 %"),
        ({"split_half": 12.5}, "held-out networks repeat to 12.5 % only, not to 12 %"),
        ({"drift": 110.0}, "the machine changed its speed: at the end the reference took 2.1 times as long as before"),
        ({"drift": -60.0}, "the machine changed its speed: at the end the reference took 0.4 times as long as before"),
    ],
)
def test_doubts(figures, reason):
    assert doubts(Report(**FINE)) == ()
    assert doubts(Report(**FINE | figures)) == (reason,)


def test_networks_that_are_as_near_as_their_times_repeat_need_not_be_ranked():
    swapped = TRUE.copy()
    swapped[[0, 1, 2, 3, 4, 5]] = TRUE[[1, 0, 3, 2, 5, 4]]  # neighbours, 6 to 9 % apart
    held_out = tuple(zip(TRUE, swapped, strict=True))[:8]
    (reason,) = doubts(Report(**FINE | {"held_out": held_out}))
    assert reason == "Kendall tau 0.786 on held-out networks that are clearly apart is below 0.9"
    assert doubts(Report(**FINE | {"held_out": held_out, "split_half": 4.8})) == ()
    assert doubts(Report(**FINE | {"held_out": held_out[:6]})) == ()  # 15 pairs say nothing
    backwards = tuple(zip(TRUE, TRUE[::-1], strict=True))
    assert len(doubts(Report(**FINE | {"held_out": backwards, "split_half": 10.0}))) == 1  # however noisy
    unknown = tuple((ms, float("nan")) for ms in TRUE)
    assert len(doubts(Report(**FINE | {"held_out": unknown}))) == 1


def test_what_a_table_says_of_itself_where_nothing_can_be_ranked(make_table, tiny_space):
    alike = tuple((1 + 0.001 * i, 1 - 0.001 * i) for i in range(12))
    report = Report(**FINE | {"held_out": alike})
    assert doubts(report) == ()
    table = replace(make_table(tiny_space), report=report)
    assert "held-out networks, no two of them clearly apart (the truth repeats to 1.0 %)" in validation_summary(table)
    with pytest.raises(DamagedFileError, match="times that are not positive numbers"):
        LatencyTable.from_json(replace(table, report=replace(report, held_out=())).to_json(), "t")


def test_uniform_networks_never_change_format(tiny_space, make_table):
    parts = make_table(tiny_space).parts
    for name in ("float32", "w8a8", "w4a4"):
        network = tiny_space.subnet(uniform_genome(tiny_space, "largest", name)).assembly
        assert (network_features(parts, network)[5:] == 0).all()


def test_noise_cannot_make_a_call_take_less_than_nothing(tiny_space, rng, make_table):
    """Times that grow faster than their sums want a negative constant."""
    parts = make_table(tiny_space).parts
    networks = [subnet.assembly for subnet in tiny_space.subnets(tiny_space.sample(20, rng))]
    sums = np.array([network_features(parts, network)[:2].sum() for network in networks])
    fitted = fit(parts, networks, np.maximum(sums - 0.9 * sums.min(), 1e-6))
    assert fitted[0] >= 0
