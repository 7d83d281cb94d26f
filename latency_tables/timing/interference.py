"""InterferenceMonitor: tells whether the machine is disturbed while something is timed."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from latency_tables.runtimes.runtime import Runner

PERCENTILE = 20
STEADY = 0.02  # two medians of a warm model agree within
CHECK_SECONDS = 0.001


class InterferenceMonitor:
    """Keeps an eye on the machine: times a small reference network, and tells whether others take the processor.

    Args:
        reference: The network.
        cores: Cores to choose from; with fewer than two the process stays where it is.
        process: Id of the process that computes, 0 for this one.
        clock: Replaced in tests.
        cpu_wait: Seconds that the process has waited for a processor so far; replaced in tests.
    """

    def __init__(
        self,
        reference: Runner,
        *,
        cores: tuple[int, ...] = (),
        process: int = 0,
        clock: Callable[[], float] = time.perf_counter,
        cpu_wait: Callable[[], float] | None = None,
    ) -> None:
        self.reference = reference
        self.cores = cores
        self.process = process
        self.clock = clock
        self.cpu_wait = cpu_wait or (lambda: cpu_wait_seconds(process))
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
def monitoring(reference: Runner, *, threads: int, process: int = 0) -> Iterator[InterferenceMonitor]:
    """Give a watch that may move one thread from core to core, and afterwards put the process back on all its cores."""
    if threads > 1 or not hasattr(os, "sched_setaffinity"):
        yield InterferenceMonitor(reference, process=process)
        return
    allowed = os.sched_getaffinity(process)
    try:
        yield InterferenceMonitor(reference, cores=tuple(sorted(allowed)), process=process)
    finally:
        os.sched_setaffinity(process, allowed)


def cpu_wait_seconds(process: int = 0) -> float:
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
