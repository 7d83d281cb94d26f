"""The measurement protocol: many short rounds, each in units of a reference network timed beside it.

On a shared machine a core switches between speeds many times a minute, as its hardware neighbour works or rests
(measured: 1.4 times, a few tenths of a second each), and its clock drifts. Long runs in one go mix these speeds by chance.
So a model is timed in a short burst with a check of a small reference network on both sides, and what counts is the
ratio. Models take turns, round after round, and the mean of the middle half of the rounds is the answer. A burst during
which another process took the processor, or the reference changed, is repeated, on the next core, for as long as the retry
budget lasts; after that it is marked. See docs/decisions/0003-timing-on-shared-machines.md for what was measured.

Needs NumPy only, so that it runs on a remote device; see `latency_tables/remote`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from latency_tables.runtimes.runtime import Runner
from latency_tables.timing.interference import PERCENTILE, InterferenceMonitor, run_until_steady
from latency_tables.timing.measurement import Measurement
from search_spaces.errors import check_range

WARM_UP = 0.4  # of a burst, at most
DRIFT = 0.05  # of the reference during a burst; single checks of a quiet machine scatter by +-2.5 %
MAX_CPU_WAIT = 0.03  # share of a burst in which the model waited for a processor
IMPATIENCE = 4.0  # a timing may take this many times as much of the retry budget as an even share of what is left


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Settings of the protocol; the text under each field is its help.

    Raises:
        InvalidInputError: If a value is out of range.
    """

    rounds: int = 20
    """Rounds over everything that is measured; with less than 2 nothing would be known of how well times repeat."""
    seconds: float = 0.01
    """Length of a burst of runs of one model in a round; at least three runs, however long they take."""
    retry_budget: float = 0.02
    """Seconds to repeat disturbed bursts, on average for each model and round."""

    def __post_init__(self) -> None:
        check_range("rounds", self.rounds, 2, 1000)
        check_range("seconds", self.seconds, 1e-4, 60)
        check_range("retry_budget", self.retry_budget, 0, 3600)


@dataclass(frozen=True)
class Timing:
    """One model in one round.

    Attributes:
        units: 20th percentile of the runs, in units of the reference.
        is_clean: Whether the machine was undisturbed.
        reference_ms: What the reference took beside it.
    """

    units: float
    is_clean: bool
    reference_ms: float


KnownTimings = dict[tuple[str, int], Timing]
"""By name of the model and round."""


@dataclass(frozen=True)
class Timings:
    """Result of `time_models`.

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


def time_model(run: Runner, monitor: InterferenceMonitor, seconds: float, retry_budget: float) -> tuple[Timing, float]:
    """Time one model once.

    Args:
        run: The model.
        monitor: Keeps an eye on the machine.
        seconds: Length of the burst.
        retry_budget: Seconds that may be spent on repeating it.

    Returns:
        The timing, and the retry budget used.
    """
    monitor.next_core()
    median = run_until_steady(run, WARM_UP * seconds)
    n = max(3, int(np.ceil(seconds / median)))
    lost = 0.0
    while True:
        started, wait_before = monitor.clock(), monitor.cpu_wait()
        before = monitor.check()
        durations = run(n)
        after = monitor.check()
        taken = monitor.clock() - started
        reference_ms = (before + after) / 2
        is_clean = monitor.cpu_wait() - wait_before <= MAX_CPU_WAIT * taken and abs(before - after) <= DRIFT * reference_ms
        if is_clean or lost + taken > retry_budget:
            units = 1e3 * float(np.percentile(durations, PERCENTILE)) / reference_ms
            return Timing(units, is_clean, reference_ms), lost
        lost += taken
        monitor.next_core()


def time_models(
    builders: Mapping[str, Callable[[], Runner]],
    monitor: InterferenceMonitor,
    protocol: Protocol,
    *,
    reference_ms: float | None = None,
    known: KnownTimings | None = None,
    on_timed: Callable[[KnownTimings, int, int], None] = lambda found, done, total: None,
) -> Timings:
    """Time many models by the protocol.

    Args:
        builders: By name of the model; built anew in each round, so that the luck of one session is averaged out.
        monitor: Keeps an eye on the machine.
        protocol: Settings.
        reference_ms: What all times are scaled to; None: the 20th percentile of the reference while measuring.
        known: What an interrupted measurement already found; not measured again.
        on_timed: Called after each model with what was found, and how many of how many timings are done.
    """
    found: KnownTimings = dict(known or {})
    total = len(builders) * protocol.rounds
    retry_budget = protocol.retry_budget * total
    for round_ in range(protocol.rounds):
        for name, build in builders.items():
            if (name, round_) not in found:
                allowed = IMPATIENCE * retry_budget / (total - len(found))
                timing, lost = time_model(build(), monitor, protocol.seconds, min(allowed, retry_budget))
                found[name, round_] = timing
                retry_budget -= lost
                on_timed({(name, round_): timing}, len(found), total)
    timings = {name: [found[name, round_] for round_ in range(protocol.rounds)] for name in builders}
    everything = [timing for row in timings.values() for timing in row]
    if reference_ms is None:
        reference_ms = float(np.percentile([timing.reference_ms for timing in everything], PERCENTILE))
    measurements = {
        name: Measurement(tuple(t.units * reference_ms for t in row), tuple(t.is_clean for t in row))
        for name, row in timings.items()
    }
    disturbed = float(np.mean([not timing.is_clean for timing in everything]))
    first, last = (np.median([row[i].reference_ms for row in timings.values()]) for i in (0, -1))
    return Timings(measurements, reference_ms, disturbed, float(last / first - 1))
