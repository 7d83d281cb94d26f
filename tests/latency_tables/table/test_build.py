import json
import os

import numpy as np
import pytest

from latency_tables.device import Device
from latency_tables.table import measure
from latency_tables.table.build import build_table
from latency_tables.table.estimate import choose_parts, estimate_parts
from latency_tables.table.latency_model import empty_graph, iterate_parts
from latency_tables.table.plan import plan_table
from latency_tables.table.table import LatencyTable
from latency_tables.timing.protocol import Protocol
from search_spaces import Choice, InvalidInputError, TabularSpace, graph_costs, lower

QUICK = Protocol(rounds=2, seconds=0.002, retry_budget=0.0)


def quick_table(space, **settings):
    plan = plan_table(space, n_fit=12, n_held_out=10, rng=np.random.default_rng(0))
    return build_table(plan, Device(), QUICK, **settings)


def test_a_real_table_goes_on_from_its_journal(tiny_space, tmp_path):
    class StoppedError(Exception):
        pass

    def stop(done, total):
        if done == 30:
            raise StoppedError

    def stop_later(done, total):
        if done == 40:
            raise StoppedError

    journal = tmp_path / "t.journal"
    with pytest.raises(StoppedError):
        quick_table(tiny_space, journal=journal, progress=stop)
    kept = [json.loads(line) for line in journal.read_text().splitlines()[1:31]]
    with pytest.raises(StoppedError):
        quick_table(tiny_space, journal=journal, progress=stop_later)
    assert len(journal.read_text().splitlines()) == 1 + 40
    told = []
    table = quick_table(tiny_space, journal=journal, announce=lambda *numbers: told.append(numbers))
    assert told[0][:2] == (len(dict(iterate_parts(tiny_space))), 22)
    assert told[0][2] > 0
    for name, _, units, _, _ in kept:
        assert table.measurements[name].rounds[0] == pytest.approx(units * table.reference_ms)
    assert set(table.measurements) == {name for name, _ in iterate_parts(tiny_space)}
    assert (table.report.n_fit, table.report.n_held_out) == (12, 10)
    assert np.isfinite(table.predict_ms(tiny_space, tiny_space.sample(50, np.random.default_rng(1)))).all()
    assert table.fingerprint["threads"] == 1


@pytest.mark.parametrize(("room", "times_written"), [(2**31, 1), (0, 2)])
def test_a_model_is_written_once_while_there_is_room(tiny_space, monkeypatch, room, times_written):
    written = []
    monkeypatch.setattr(measure, "KEPT_BYTES", room)
    monkeypatch.setattr(measure, "lower", lambda graph, batch: written.append(graph) or lower(graph, batch=batch))
    genomes = tiny_space.sample(2, np.random.default_rng(0))
    graphs = {str(i): tiny_space.subnet(genome).graph for i, genome in enumerate(genomes)}
    measure.measure_graphs(graphs, empty_graph(), Device(), QUICK, {})
    assert [written.count(graph) for graph in graphs.values()] == [times_written] * 2


def test_journal_of_something_else_is_not_used(tiny_space, tmp_path):
    journal = tmp_path / "t.journal"
    journal.write_text('{"space": "other"}\n["call", 0, 1e6, true, 1.0]\n')
    table = quick_table(tiny_space, journal=journal)
    assert max(table.measurements["call"].rounds) < 1e3 * table.reference_ms


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs a system that pins processes to cores")
def test_the_process_is_back_on_all_cores(tiny_space):
    before = os.sched_getaffinity(0)
    quick_table(tiny_space)
    assert os.sched_getaffinity(0) == before


def test_bad_devices_and_spaces_are_refused():
    with pytest.raises(InvalidInputError, match="threads must be in 1..1024, got 0"):
        Device(threads=0)
    with pytest.raises(InvalidInputError, match="unknown runtime 'onnxruntme' .did you mean 'onnxruntime'"):
        Device(backend="onnxruntme")
    space = TabularSpace([Choice("a", (1, 2))])
    with pytest.raises(InvalidInputError, match="nothing to measure"):
        quick_table(space)
    with pytest.raises(InvalidInputError, match="a device's label must be .* got '../x'"):
        Device(label="../x")


def test_blocks_that_there_is_no_time_for_are_estimated_and_marked(tiny_space):
    parts = dict(iterate_parts(tiny_space))
    transitions = {name for name in parts if " || " in name}
    blocks = {name for name in parts if name not in transitions and name != "call"}
    with pytest.raises(InvalidInputError, match="the time allows 5 parts, but the transitions between blocks alone need"):
        choose_parts(parts, 5)
    n = len(parts) - 12
    chosen = choose_parts(parts, n)
    assert len(chosen) == n
    assert transitions | {"call"} <= chosen
    # Times that follow MACs and bytes, as those of a real runtime do about.
    true = {
        name: 1e-3 + 1e-7 * graph_costs(parts[name])["macs"] + 1e-7 * graph_costs(parts[name])["size_bytes"]
        for name in parts
    }
    estimated = estimate_parts(parts, {name: true[name] for name in chosen})
    assert set(estimated) == blocks - chosen
    assert np.mean([abs(ms / true[name] - 1) for name, ms in estimated.items()]) < 0.05


def test_a_table_with_estimated_blocks_is_written_and_read(tiny_space):
    plan = plan_table(tiny_space, n_fit=12, n_held_out=10, rng=np.random.default_rng(0))
    shorter = plan.within(len(plan.parts) + len(plan.networks) - 12)
    assert (len(plan.estimated), len(shorter.estimated)) == (0, 12)
    table = build_table(shorter, Device(), QUICK)
    assert set(table.estimated) == set(shorter.estimated)
    again = LatencyTable.from_json(table.to_json(), "t.json")
    genomes = tiny_space.sample(10, np.random.default_rng(1))
    assert (again.predict_ms(tiny_space, genomes) == table.predict_ms(tiny_space, genomes)).all()
    assert sum(line.endswith(",") for line in table.to_csv().splitlines()) == 12
