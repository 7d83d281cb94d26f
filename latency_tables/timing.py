"""The measurement protocol: many short rounds, each in units of a reference network timed beside it.

On a shared machine a core switches between speeds many times a minute, as its hardware neighbour works or rests
(measured: 1.4 times, a few tenths of a second each), and its clock drifts. Long runs in one go mix these speeds by chance.
So a model is timed in a short burst with a check of a small reference network on both sides, and what counts is the
ratio. Models take turns, round after round, and the mean of the middle half of the rounds is the answer. A burst during
which another process took the processor, or the reference changed, is repeated, on the next core, for as long as patience
lasts; after that it is marked. See docs/decisions/0003-timing-on-shared-machines.md for what was measured.

Needs NumPy only, so that it runs on a device elsewhere; see `kit.py`.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from latency_tables.backends.backend import Runner
from search_spaces.errors import InvalidInput

PERCENTILE = 20
WARM_UP = 0.4  # of a burst, at most
STEADY = 0.02  # two medians of a warm model agree within
DRIFT = 0.05  # of the reference during a burst; single checks of a quiet machine scatter by +-2.5 %
GREATEST_WAIT = 0.03  # share of a burst in which the model waited for a processor
CHECK_SECONDS = 0.001
IMPATIENCE = 4.0  # a timing may take this many times as much patience as an even share of what is left


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
    def counted(self) -> tuple[float, ...]:
        """The undisturbed rounds if these are at least half; otherwise all."""
        pairs = zip(self.rounds, self.undisturbed, strict=True)
        return tuple(ms for ms, fine in pairs if fine) if 2 * sum(self.undisturbed) >= len(self.rounds) else self.rounds

    @property
    def ms(self) -> float:
        """Mean of the middle half of the rounds that count, in milliseconds."""
        return _middle_mean(self.counted)

    @property
    def spread(self) -> float:
        """Range of the middle half of the rounds that count, over `ms`."""
        low, high = np.percentile(self.counted, [25, 75])
        return float(high - low) / self.ms

    @property
    def halves(self) -> tuple[float, float]:
        """The `ms` of every other round and of the rounds between; of those that count, or of all where only one does."""
        rounds = self.counted if len(self.counted) > 1 else self.rounds
        return _middle_mean(rounds[0::2]), _middle_mean(rounds[1::2])

    @property
    def split_half(self) -> float:
        """Relative difference between the two halves: how well the truth repeats."""
        first, second = self.halves
        return abs(first - second) / self.ms


def _middle_mean(values: tuple[float, ...]) -> float:
    """Return the geometric mean of the middle half: steadier than the median where a machine has two speeds."""
    ordered = np.sort(values)
    left_out = (len(ordered) + 1) // 4
    return float(np.exp(np.log(ordered[left_out : len(ordered) - left_out]).mean()))


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Settings of the protocol.

    Raises:
        InvalidInput: If a value is too small.

    Attributes:
        rounds: Rounds over all models, at least 2.
        seconds: Length of a burst; at least three runs, however long they take.
        patience: Seconds that may be spent on repeating disturbed bursts, on average for each model and round.
    """

    rounds: int = 20
    seconds: float = 0.01
    patience: float = 0.02

    def __post_init__(self) -> None:
        if self.rounds < 2:
            raise InvalidInput(f"rounds must be 2 or more, or nothing is known of how well times repeat; got {self.rounds}")
        if not (self.seconds > 0 and self.patience >= 0):
            raise InvalidInput(f"seconds must be above 0 and patience 0 or more, got {self.seconds} and {self.patience}")


@dataclass(frozen=True)
class Timing:
    """One model in one round.

    Attributes:
        units: 20th percentile of the runs, in units of the reference.
        undisturbed: Whether the machine was undisturbed.
        reference_ms: What the reference took beside it.
    """

    units: float
    undisturbed: bool
    reference_ms: float


Known = dict[tuple[str, int], Timing]
"""By name of the model and round."""


@dataclass(frozen=True)
class Timings:
    """What `time_models` found.

    Attributes:
        measurements: By name of the model.
        reference_ms: Milliseconds of the reference that all times are scaled to.
        disturbed: Share of the timings that were disturbed to the end.
        drift: Relative change of the reference from the first round to the last: the speed of the machine.
    """

    measurements: dict[str, Measurement]
    reference_ms: float
    disturbed: float
    drift: float


class Watch:
    """Keeps an eye on the machine: times a small reference network, and tells whether others take the processor.

    Args:
        reference: The network.
        cores: Cores to choose from; with fewer than two the process stays where it is.
        process: Id of the process that computes, 0 for this one.
        clock: Replaced in tests.
        waited: Seconds that the process has waited for a processor so far; replaced in tests.
    """

    def __init__(
        self,
        reference: Runner,
        *,
        cores: tuple[int, ...] = (),
        process: int = 0,
        clock: Callable[[], float] = time.perf_counter,
        waited: Callable[[], float] | None = None,
    ) -> None:
        self.reference = reference
        self.cores = cores
        self.process = process
        self.clock = clock
        self.waited = waited or (lambda: waited_seconds(process))
        self._core = 0
        run_until_steady(reference, 20 * CHECK_SECONDS)
        self._n = max(5, int(CHECK_SECONDS / max(float(np.median(reference(20))), 1e-7)))

    def check(self) -> float:
        """Time the reference now; return its milliseconds."""
        return float(np.percentile(self.reference(self._n), PERCENTILE)) * 1e3

    def next_core(self) -> None:
        """Move to the next of the cores."""
        if len(self.cores) > 1:
            self._core = (self._core + 1) % len(self.cores)
            os.sched_setaffinity(self.process, {self.cores[self._core]})


@contextmanager
def watching(reference: Runner, *, threads: int, process: int = 0) -> Iterator[Watch]:
    """Give a watch that may move one thread from core to core, and afterwards put the process back on all its cores."""
    if threads > 1 or not hasattr(os, "sched_setaffinity"):
        yield Watch(reference, process=process)
        return
    allowed = os.sched_getaffinity(process)
    try:
        yield Watch(reference, cores=tuple(sorted(allowed)), process=process)
    finally:
        os.sched_setaffinity(process, allowed)


def waited_seconds(process: int = 0) -> float:
    """Return how long the threads of a process (0: this one) were ready to run but had no processor; 0 where unknown.

    Source: Linux, /proc/PID/task/TID/schedstat, second number, nanoseconds.
    """
    total = 0
    try:
        for task in Path(f"/proc/{process or 'self'}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0.0
    return total / 1e9


def time_model(run: Runner, watch: Watch, seconds: float, patience: float) -> tuple[Timing, float]:
    """Time one model once.

    Args:
        run: The model.
        watch: Keeps an eye on the machine.
        seconds: Length of the burst.
        patience: Seconds that may be spent on repeating it.

    Returns:
        The timing, and the patience used.
    """
    watch.next_core()
    median = run_until_steady(run, WARM_UP * seconds)
    n = max(3, int(np.ceil(seconds / median)))
    lost = 0.0
    while True:
        started, waited_before = watch.clock(), watch.waited()
        before = watch.check()
        durations = run(n)
        after = watch.check()
        taken = watch.clock() - started
        reference_ms = (before + after) / 2
        undisturbed = watch.waited() - waited_before <= GREATEST_WAIT * taken and abs(before - after) <= DRIFT * reference_ms
        if undisturbed or lost + taken > patience:
            units = 1e3 * float(np.percentile(durations, PERCENTILE)) / reference_ms
            return Timing(units, undisturbed, reference_ms), lost
        lost += taken
        watch.next_core()


def run_until_steady(run: Runner, seconds: float) -> float:
    """Run until two successive medians agree within 2 %, or for `seconds`; return the last median, in seconds."""
    n = max(3, int(0.1 * seconds / max(float(np.median(run(3))), 1e-7)))
    spent, before = 0.0, np.inf
    while True:
        durations = run(n)
        spent += float(durations.sum())
        median = max(float(np.median(durations)), 1e-7)
        if spent >= seconds or abs(median - before) <= STEADY * median:
            return median
        before = median


def time_models(
    builders: Mapping[str, Callable[[], Runner]],
    watch: Watch,
    protocol: Protocol,
    *,
    reference_ms: float | None = None,
    known: Known | None = None,
    on_timed: Callable[[Known, int, int], None] = lambda found, done, total: None,
) -> Timings:
    """Time many models by the protocol.

    Args:
        builders: By name of the model; built anew in each round, so that the luck of one session is averaged out.
        watch: Keeps an eye on the machine.
        protocol: Settings.
        reference_ms: What all times are scaled to; None: the 20th percentile of the reference while measuring.
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
                timing, lost = time_model(build(), watch, protocol.seconds, min(allowed, patience))
                found[name, round_] = timing
                patience -= lost
                on_timed({(name, round_): timing}, len(found), total)
    timings = {name: [found[name, round_] for round_ in range(protocol.rounds)] for name in builders}
    everything = [timing for row in timings.values() for timing in row]
    if reference_ms is None:
        reference_ms = float(np.percentile([timing.reference_ms for timing in everything], PERCENTILE))
    measurements = {
        name: Measurement(tuple(t.units * reference_ms for t in row), tuple(t.undisturbed for t in row))
        for name, row in timings.items()
    }
    disturbed = float(np.mean([not timing.undisturbed for timing in everything]))
    first, last = (np.median([row[i].reference_ms for row in timings.values()]) for i in (0, -1))
    return Timings(measurements, reference_ms, disturbed, float(last / first - 1))
