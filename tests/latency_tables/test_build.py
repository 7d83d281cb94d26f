import json
import os

import numpy as np
import pytest

from latency_tables.backends import BACKENDS
from latency_tables.build import build_table
from latency_tables.device import Device
from latency_tables.pricing import border_graph, iterate_parts
from latency_tables.timing import Protocol
from search_spaces import Choice, InvalidInput, TabularSpace, lower

QUICK = Protocol(rounds=2, seconds=0.002, patience=0.0)


@pytest.mark.parametrize("name", list(BACKENDS))
def test_every_backend_builds_and_runs(name, tiny_space):
    backend = BACKENDS.get(name)
    assert backend.version()
    run = backend.build(lower(border_graph((4, 4, 4))), threads=1, options={})
    durations = run(7)
    assert durations.shape == (7,)
    assert (durations > 0).all()


def test_a_real_table_goes_on_from_its_journal(tiny_space, tmp_path):
    class Stopped(Exception):
        pass

    def stop(done, total):
        if done == 30:
            raise Stopped

    def stop_later(done, total):
        if done == 40:
            raise Stopped

    journal = tmp_path / "t.journal"
    settings = {"n_fit": 12, "n_held_out": 10, "protocol": QUICK, "journal": journal}
    with pytest.raises(Stopped):
        build_table(tiny_space, Device(), rng=np.random.default_rng(0), progress=stop, **settings)
    kept = [json.loads(line) for line in journal.read_text().splitlines()[1:31]]
    with journal.open("ab") as file:
        file.write(b'["call", 1, -5, true]\n["torn\xff\xfe')
    with pytest.raises(Stopped):
        build_table(tiny_space, Device(), rng=np.random.default_rng(0), progress=stop_later, **settings)
    assert len(journal.read_text().splitlines()) == 1 + 40
    table = build_table(tiny_space, Device(), rng=np.random.default_rng(0), **settings)
    for name, _, units, _ in kept:
        assert table.measurements[name].rounds[0] == pytest.approx(units * table.reference_ms)
    assert set(table.measurements) == {name for name, _ in iterate_parts(tiny_space)}
    assert (table.report.n_fit, table.report.n_held_out) == (12, 10)
    assert (table.predict_ms(tiny_space, tiny_space.sample(50, np.random.default_rng(1))) > 0).all()
    assert table.fingerprint["threads"] == 1


def test_journal_of_something_else_is_not_used(tiny_space, tmp_path):
    journal = tmp_path / "t.journal"
    journal.write_text('{"space": "other"}\n["call", 0, 1e6, true]\n')
    settings = {"n_fit": 12, "n_held_out": 10, "protocol": QUICK, "journal": journal}
    table = build_table(tiny_space, Device(), rng=np.random.default_rng(0), **settings)
    assert max(table.measurements["call"].rounds) < 1e3 * table.reference_ms


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs a system that pins processes to cores")
def test_the_process_is_back_on_all_cores(tiny_space):
    before = os.sched_getaffinity(0)
    build_table(tiny_space, Device(), n_fit=10, n_held_out=10, rng=np.random.default_rng(0), protocol=QUICK)
    assert os.sched_getaffinity(0) == before


def test_bad_devices_and_spaces_are_refused():
    with pytest.raises(InvalidInput, match="threads must be 1 or more, got 0"):
        Device(threads=0)
    with pytest.raises(InvalidInput, match="unknown latency backend 'onnxruntme' .did you mean 'onnxruntime'"):
        Device(backend="onnxruntme")
    space = TabularSpace([Choice("a", (1, 2))])
    with pytest.raises(InvalidInput, match="nothing to measure"):
        build_table(space, Device(), n_fit=10, n_held_out=10, rng=np.random.default_rng(0))
