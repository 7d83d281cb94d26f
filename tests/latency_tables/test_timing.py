import itertools

import numpy as np
import pytest

from latency_tables.timing import Measurement, Protocol, Watch, time_model, time_models


class FakeMachine:
    """A clock that runs only while models run or somebody sleeps, and a speed that changes over time."""

    def __init__(self, slowdown=lambda now: 1.0):
        self.now = 0.0
        self.slowdown = slowdown
        self.runs = 0

    def runner(self, seconds, first_runs=1.0):
        def run(n):
            self.runs += n
            durations = np.empty(n)
            for i in range(n):
                durations[i] = seconds * self.slowdown(self.now) * (first_runs if self.runs < 50 else 1.0)
                self.now += durations[i]
            return durations

        return run

    def sleep(self, seconds):
        self.now += seconds

    def watch(self):
        return Watch(self.runner(1e-4), clock=lambda: self.now, sleep=self.sleep)


def test_quiet_machine_gives_the_time():
    machine = FakeMachine()
    units, undisturbed, lost = time_model(machine.runner(2e-4), machine.watch(), 0.05, patience=1.0)
    assert (units, undisturbed) == (pytest.approx(2.0), True)
    assert lost < 0.01


def test_disturbed_phases_do_not_count():
    machine = FakeMachine(lambda now: 1.4 if int(now / 0.1) % 2 else 1.0)
    units, undisturbed, _ = time_model(machine.runner(2e-4), machine.watch(), 0.05, patience=10.0)
    assert undisturbed
    assert units == pytest.approx(2.0, rel=0.01)


def test_lasting_disturbance_is_scaled_and_marked():
    machine = FakeMachine(lambda now: 1.0 if now < 0.05 else 1.5)
    watch = machine.watch()
    machine.now = 1.0
    units, undisturbed, lost = time_model(machine.runner(2e-4), watch, 0.05, patience=0.5)
    assert not undisturbed
    assert units == pytest.approx(2.0, rel=0.01)
    assert lost >= 0.5


def test_without_patience_it_still_ends():
    machine = FakeMachine(lambda now: 1.0 if now < 0.05 else 1.5)
    watch = machine.watch()
    machine.now = 1.0
    started = machine.now
    time_model(machine.runner(2e-4), watch, 0.05, patience=0.0)
    assert machine.now - started < 0.2


def test_warm_up_and_outliers_do_not_count():
    machine = FakeMachine()
    watch = machine.watch()
    machine.runs = 0
    slow_start = machine.runner(2e-4, first_runs=10.0)
    outliers = itertools.cycle([1.0] * 9 + [8.0])

    def run(n):
        return slow_start(n) * np.array([next(outliers) for _ in range(n)])

    units, _, _ = time_model(run, watch, 0.05, patience=1.0)
    assert units == pytest.approx(2.0)


def test_a_clock_that_drifts_is_divided_out():
    """Two per cent slower with every second: the reference beside a model says so."""
    machine = FakeMachine(lambda now: 1 + 0.02 * now)
    builders = {name: (lambda name=name: machine.runner(2e-4)) for name in "abc"}
    timings = time_models(builders, machine.watch(), Protocol(rounds=3, seconds=0.2, patience=0.0))
    for measurement in timings.measurements.values():
        assert measurement.rounds == pytest.approx((0.2, 0.2, 0.2), rel=0.01)


def test_measurement_counts_undisturbed_rounds():
    m = Measurement((1.0, 1.5, 1.02), (True, False, True))
    assert m.ms == pytest.approx(1.01)
    assert m.counted == (1.0, 1.02)
    assert m.spread == pytest.approx(0.02 / 1.01)
    assert m.split_half == pytest.approx(0.02 / 1.01)
    assert not m.is_disturbed
    assert Measurement((1.0, 2.0), (False, False)).counted == (1.0, 2.0)
    assert Measurement((1.0, 1.5), (True, False)).split_half == pytest.approx(0.5)


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
        machine.watch(),
        Protocol(rounds=2, seconds=0.02),
        known={("a", 0): (7.0, True)},
        on_timed=lambda found, done, total: told.append((list(found), done, total)),
    )
    assert order == ["b", "a", "b"]
    assert told[0] == ([("b", 0)], 2, 4)
    assert timings.measurements["a"].rounds == pytest.approx((0.7, 0.1))
    assert timings.measurements["b"].ms == pytest.approx(0.2)
    assert timings.disturbed == 0
