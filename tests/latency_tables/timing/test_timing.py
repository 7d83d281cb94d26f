import itertools
import json
import subprocess
import sys

import numpy as np
import pytest

from latency_tables.timing.interference import InterferenceMonitor, cpu_wait_seconds
from latency_tables.timing.journal import Journal
from latency_tables.timing.measurement import Measurement
from latency_tables.timing.protocol import Protocol, Timing, time_model, time_models
from search_spaces import InvalidInputError


class FakeMachine:
    """A clock that runs only while models run, a speed that changes over time, and another process that takes turns."""

    def __init__(self, slowdown=lambda now: 1.0, taken=lambda now: 0.0):
        self.now = 0.0
        self.slowdown = slowdown
        self.taken = taken
        self.cpu_wait = 0.0
        self.runs = 0

    def runner(self, seconds, first_runs=1.0):
        def run(n):
            self.runs += n
            durations = np.empty(n)
            for i in range(n):
                durations[i] = seconds * self.slowdown(self.now) * (first_runs if self.runs < 10 else 1.0)
                cpu_wait = durations[i] * self.taken(self.now)
                self.cpu_wait += cpu_wait
                self.now += durations[i] + cpu_wait
            return durations

        return run

    def monitor(self):
        return InterferenceMonitor(self.runner(1e-4), clock=lambda: self.now, cpu_wait=lambda: self.cpu_wait)


def test_quiet_machine_gives_the_time_in_units_of_the_reference():
    machine = FakeMachine()
    timing, lost = time_model(machine.runner(2e-4), machine.monitor(), 0.05, retry_budget=1.0)
    assert (timing.units, timing.is_clean, timing.reference_ms) == (pytest.approx(2.0), True, pytest.approx(0.1))
    assert lost == 0


def test_a_change_of_speed_during_a_burst_is_repeated():
    machine = FakeMachine(lambda now: 1.4 if 1.0 < now < 1.3 else 1.0)
    monitor = machine.monitor()
    machine.now = 0.99
    timing, lost = time_model(machine.runner(2e-4), monitor, 0.05, retry_budget=10.0)
    assert timing.is_clean
    assert lost > 0
    assert timing.units == pytest.approx(2.0, rel=0.01)


def test_another_process_that_takes_the_processor_is_noticed_and_marked():
    machine = FakeMachine(taken=lambda now: 0.5 if now > 0.9 else 0.0)
    monitor = machine.monitor()
    machine.now = 1.0
    timing, lost = time_model(machine.runner(2e-4), monitor, 0.05, retry_budget=0.5)
    assert not timing.is_clean
    assert 0 < lost <= 0.5


def test_a_lasting_slow_speed_is_no_disturbance():
    machine = FakeMachine(lambda now: 1.0 if now < 0.05 else 1.5)
    monitor = machine.monitor()
    machine.now = 1.0
    timing, lost = time_model(machine.runner(2e-4), monitor, 0.05, retry_budget=0.5)
    assert (timing.units, timing.is_clean, lost) == (pytest.approx(2.0), True, 0)


def test_without_patience_it_still_ends():
    machine = FakeMachine(lambda now: 1.0 + 0.5 * (int(now / 0.003) % 2))
    monitor = machine.monitor()
    started = machine.now
    time_model(machine.runner(2e-4), monitor, 0.05, retry_budget=0.0)
    assert machine.now - started < 0.2


def test_warm_up_and_outliers_do_not_count():
    machine = FakeMachine()
    monitor = machine.monitor()
    machine.runs = 0
    slow_start = machine.runner(2e-4, first_runs=10.0)
    outliers = itertools.cycle([1.0] * 9 + [8.0])

    def run(n):
        return slow_start(n) * np.array([next(outliers) for _ in range(n)])

    timing, _ = time_model(run, monitor, 0.05, retry_budget=1.0)
    assert timing.units == pytest.approx(2.0)


def test_a_clock_that_drifts_is_divided_out():
    """Two per cent slower with every second: the reference beside a model says so."""
    machine = FakeMachine(lambda now: 1 + 0.02 * now)
    builders = {name: (lambda: machine.runner(2e-4)) for name in "abc"}
    timings = time_models(builders, machine.monitor(), Protocol(rounds=3, seconds=0.2, retry_budget=0.0))
    for measurement in timings.measurements.values():
        assert np.ptp(measurement.rounds) < 0.01 * measurement.ms
        assert measurement.ms == pytest.approx(2 * timings.reference_ms, rel=0.01)


def test_measurement_counts_undisturbed_rounds():
    m = Measurement((1.0, 1.5, 1.02), (True, False, True))
    assert m.counted == (1.0, 1.02)
    assert m.ms == pytest.approx(np.sqrt(1.02))
    assert m.spread == pytest.approx(0.01, rel=0.02)
    assert m.split_half == pytest.approx(0.02, rel=0.02)
    assert Measurement((1.0, 2.0, 3.0), (True, False, False)).counted == (1.0, 2.0, 3.0)
    outlier = Measurement((1.0, 1.0, 1.0, 1.0, 9.0), (True,) * 5)
    assert outlier.ms == pytest.approx(1.0)


def test_rounds_are_spread_and_known_timings_are_kept():
    machine = FakeMachine()
    order = []

    def build(name, seconds):
        def make():
            order.append(name)
            return machine.runner(seconds)

        return make

    builders = {"a": build("a", 1e-4), "b": build("b", 2e-4)}
    told = []
    timings = time_models(
        builders,
        machine.monitor(),
        Protocol(rounds=2, seconds=0.02),
        known={("a", 0): Timing(7.0, True, 0.1)},
        on_timed=lambda found, done, total: told.append((list(found), done, total)),
    )
    assert order == ["b", "a", "b"]
    assert told[0] == ([("b", 0)], 2, 4)
    assert timings.measurements["a"].rounds == pytest.approx((0.7, 0.1))
    assert timings.measurements["b"].ms == pytest.approx(0.2)
    assert timings.disturbed == 0


def test_times_can_be_scaled_to_an_earlier_reference():
    machine = FakeMachine()
    timings = time_models(
        {"a": lambda: machine.runner(2e-4)}, machine.monitor(), Protocol(rounds=2, seconds=0.02), reference_ms=0.3
    )
    assert timings.reference_ms == 0.3
    assert timings.measurements["a"].ms == pytest.approx(0.6)


def test_too_few_rounds_are_refused():
    with pytest.raises(InvalidInputError, match="rounds must be in 2..1000, got 1"):
        Protocol(rounds=1)


@pytest.mark.serial
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux tells how long a process waited")
def test_a_real_process_that_eats_the_processor_is_noticed():
    """A busy process on the very core that a model runs on."""
    import os

    core = min(os.sched_getaffinity(0))
    child = """
import numpy as np, time
from latency_tables.timing.interference import InterferenceMonitor
from latency_tables.timing.protocol import time_model
def run(n):
    durations = np.empty(n)
    for i in range(n):
        started = time.perf_counter()
        sum(range(2000))
        durations[i] = time.perf_counter() - started
    return durations
print([time_model(run, InterferenceMonitor(run), 0.03, 0.1)[0].is_clean for _ in range(5)])
"""
    pin = f"import os; os.sched_setaffinity(0, {{{core}}})\n"
    hog = subprocess.Popen([sys.executable, "-c", pin + "while True: pass"])
    try:
        found = subprocess.run([sys.executable, "-c", pin + child], capture_output=True, text=True, check=True).stdout
    finally:
        hog.kill()
        hog.wait()
    assert sum(map(bool, json.loads(found.lower()))) <= 1
    assert cpu_wait_seconds() >= 0


def test_journal_keeps_what_agrees_up_to_a_torn_line(tmp_path):
    path = tmp_path / "t.journal"
    journal = Journal(path, {"space": "a"})
    journal.add({("call", 0): Timing(1.5, True, 0.1)})
    journal.add({("call", 1): Timing(1.6, False, 0.1)})
    with path.open("ab") as file:
        file.write(b'["call", 2, -5, true, 0.1]\n["torn\xff\xfe')
    again = Journal(path, {"space": "a"})
    assert again.known == {("call", 0): Timing(1.5, True, 0.1), ("call", 1): Timing(1.6, False, 0.1)}
    assert len(path.read_text().splitlines()) == 3
    assert Journal(path, {"space": "b"}).known == {}
    with pytest.raises(InvalidInputError, match="cannot use the journal"):
        Journal(tmp_path, {"space": "a"})
