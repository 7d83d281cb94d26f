"""The measurement protocol: warm up, then runs in short bursts while the machine is undisturbed, in several rounds.

On a shared machine a core switches between speeds many times a minute, as its hardware neighbour works or rests
(measured: 1.4 times, a few tenths of a second each), and its clock drifts. So the runs of a model are cut into bursts, a
small reference network is timed between them, and what counts is the time in units of the reference beside it. A burst
counts only if the reference was quick on both sides; otherwise the next core is tried, then waited for. When patience is
used up, disturbed bursts count too and the timing is marked. At the end all is put into milliseconds of the quickest
reference. See
docs/decisions/0003-timing-on-shared-machines.md.
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from latency_tables.backends import Runner
from search_spaces.errors import InvalidInput

PERCENTILE = 20
TOLERANCE = 0.05  # above the quickest check of the reference: checks of an undisturbed machine scatter by +-2.5 %
STEADY = 0.02
CHECK_SECONDS = 0.001
BURST_SECONDS = 0.01
GREATEST_DISTURBED = 0.1  # share of models without an undisturbed round
IMPATIENCE = 4.0  # a model may wait this many times as long as an even share of what is left


@dataclass(frozen=True)
class Measurement:
    """How long one model takes.

    Attributes:
        rounds: Milliseconds found in each round.
        undisturbed: Whether the machine was undisturbed, for each round.
    """

    rounds: tuple[float, ...]
    undisturbed: tuple[bool, ...]

    @property
    def is_disturbed(self) -> bool:
        """Whether no round at all was undisturbed."""
        return not any(self.undisturbed)

    @property
    def counted(self) -> tuple[float, ...]:
        """The undisturbed rounds; all of them where there is none."""
        pairs = zip(self.rounds, self.undisturbed, strict=True)
        return self.rounds if self.is_disturbed else tuple(ms for ms, undisturbed in pairs if undisturbed)

    @property
    def ms(self) -> float:
        """Median of the rounds that count, in milliseconds."""
        return float(np.median(self.counted))

    @property
    def spread(self) -> float:
        """Greatest minus least of the rounds that count, over the median."""
        return (max(self.counted) - min(self.counted)) / self.ms

    @property
    def split_half(self) -> float:
        """Relative difference between the means of every other round: how well the truth repeats.

        Of the rounds that count, or of all where only one does.
        """
        rounds = self.counted if len(self.counted) > 1 else self.rounds
        return abs(float(np.mean(rounds[0::2])) - float(np.mean(rounds[1::2]))) / self.ms


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Settings of the protocol.

    Raises:
        InvalidInput: If a value is too small.

    Attributes:
        rounds: Rounds over all models, at least 2.
        seconds: Least time of a model's undisturbed runs in each round.
        patience: Seconds that may be spent on waiting for an undisturbed machine, on average for each model and round.
    """

    rounds: int = 3
    seconds: float = 0.1
    patience: float = 0.4

    def __post_init__(self) -> None:
        if self.rounds < 2:
            raise InvalidInput(f"rounds must be 2 or more, or nothing is known of how well times repeat; got {self.rounds}")
        if not (self.seconds > 0 and self.patience >= 0):
            raise InvalidInput(f"seconds must be above 0 and patience 0 or more, got {self.seconds} and {self.patience}")


@dataclass(frozen=True)
class Timings:
    """What `time_models` found.

    Attributes:
        measurements: By name of the model.
        reference_ms: Quickest check of the reference network.
    """

    measurements: dict[str, Measurement]
    reference_ms: float

    @property
    def disturbed(self) -> float:
        """Share of the models that had no undisturbed round."""
        return float(np.mean([m.is_disturbed for m in self.measurements.values()]))


class Watch:
    """Tells whether the machine is undisturbed, by timing a small reference network.

    Args:
        reference: The network.
        cores: Cores to choose from; with fewer than two the process stays where it is.
        best_ms: Quickest check known from before.
        clock: Replaced in tests.
        sleep: Replaced in tests.
    """

    def __init__(
        self,
        reference: Runner,
        *,
        cores: tuple[int, ...] = (),
        best_ms: float = float("inf"),
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.reference = reference
        self.cores = cores
        self.best_ms = best_ms
        self.clock = clock
        self.sleep = sleep
        self._core = 0
        self._n = max(5, int(CHECK_SECONDS / max(float(np.median(reference(20))), 1e-7)))
        for _ in range(20):
            self._next_core()
            self.check()

    def check(self) -> float:
        """Time the reference now; return its milliseconds."""
        now = float(np.percentile(self.reference(self._n), PERCENTILE)) * 1e3
        self.best_ms = min(self.best_ms, now)
        return now

    def is_quick(self, ms: float) -> bool:
        """Return whether a check shows an undisturbed machine."""
        return ms <= self.best_ms * (1 + TOLERANCE)

    def wait(self, seconds: float) -> float:
        """Look for an undisturbed core for at most so long; return the last check, in milliseconds."""
        until = self.clock() + seconds
        while not self.is_quick(now := self.check()) and self.clock() < until:
            self._next_core()
            if self._core == 0:
                self.sleep(0.005)
        return now

    def _next_core(self) -> None:
        if len(self.cores) > 1:
            self._core = (self._core + 1) % len(self.cores)
            os.sched_setaffinity(0, {self.cores[self._core]})


def time_model(run: Runner, watch: Watch, seconds: float, patience: float) -> tuple[float, bool, float]:
    """Time one model.

    Args:
        run: The model.
        watch: Says when the machine is undisturbed.
        seconds: Least time of the runs that count.
        patience: Seconds that may be spent on waiting and on bursts that do not count.

    Returns:
        20th percentile of the runs in units of the reference, whether the machine was undisturbed, and the patience used.
    """
    n = _warm_up(run, BURST_SECONDS)
    undisturbed: list[float] = []
    everything: list[float] = []
    counted = spent = lost = 0.0
    before = np.inf
    while counted < seconds and (lost < patience or spent < seconds):
        started = watch.clock()
        if not watch.is_quick(before):
            before = watch.wait(patience - lost)
            lost += watch.clock() - started
            started = watch.clock()
        durations = run(n)
        after = watch.check()
        total = float(durations.sum())
        spent += total
        in_units = 1e3 * durations / ((before + after) / 2)
        everything.extend(in_units)
        if watch.is_quick(max(before, after)):
            undisturbed.extend(in_units)
            counted += total
        else:
            lost += watch.clock() - started
        before = after
    is_undisturbed = counted >= seconds / 2
    return float(np.percentile(undisturbed if is_undisturbed else everything, PERCENTILE)), is_undisturbed, lost


def _warm_up(run: Runner, seconds: float) -> int:
    """Run until two successive medians agree within 2 %, or for `seconds`; return how many runs take `seconds`."""
    n = max(3, int(0.1 * seconds / max(float(np.median(run(3))), 1e-7)))
    spent, before = 0.0, np.inf
    while True:
        durations = run(n)
        spent += float(durations.sum())
        median = float(np.median(durations))
        if spent >= seconds or abs(median - before) <= STEADY * median:
            return max(3, int(np.ceil(seconds / median)))
        before = median


Known = dict[tuple[str, int], tuple[float, bool]]
"""Time in units of the reference and whether undisturbed, by name of the model and round."""


def time_models(
    builders: Mapping[str, Callable[[], Runner]],
    watch: Watch,
    protocol: Protocol,
    *,
    known: Known | None = None,
    on_timed: Callable[[Known, int, int], None] = lambda found, done, total: None,
) -> Timings:
    """Time many models by the protocol.

    Args:
        builders: By name of the model; built anew in each round, so that the luck of one session is averaged out.
        watch: Says when the machine is undisturbed.
        protocol: Settings.
        known: What an interrupted measurement already found; not measured again.
        on_timed: Called after each model with what was found, and how many of how many timings are done.
    """
    found: Known = dict(known or {})
    total = len(builders) * protocol.rounds
    patience = protocol.patience * total
    for round_ in range(protocol.rounds):
        for name, build in builders.items():
            if (name, round_) not in found:
                allowed = IMPATIENCE * patience / (total - len(found))
                units, undisturbed, lost = time_model(build(), watch, protocol.seconds, min(allowed, patience))
                found[name, round_] = (units, undisturbed)
                patience -= lost
                on_timed({(name, round_): found[name, round_]}, len(found), total)
    measurements = {}
    for name in builders:
        timings = [found[name, round_] for round_ in range(protocol.rounds)]
        rounds = tuple(units * watch.best_ms for units, _ in timings)
        measurements[name] = Measurement(rounds, tuple(undisturbed for _, undisturbed in timings))
    return Timings(measurements, watch.best_ms)
