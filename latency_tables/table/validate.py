"""Validation of a latency table: its predictions against held-out networks."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from latency_tables.table.table import Report
from latency_tables.timing.measurement import Measurement
from latency_tables.timing.protocol import Timings

MAX_MAPE = 5.0  # percent
MAPE_CEILING = 10.0  # percent, however badly the truth repeats
MIN_TAU = 0.9
MIN_PAIRS = 20
MAX_SPLIT_HALF = 12.0  # percent
MAX_DRIFT = 2.0  # times the speed at the beginning, or its inverse


def validate(
    measured: list[Measurement],
    predicted: NDArray[np.float64],
    *,
    n_fit: int,
    timings: Timings,
    minutes: float,
) -> Report:
    """Compare predictions with held-out measurements and say whether the table is valid, and why not; see `doubts`."""
    truth = np.array([m.ms for m in measured])
    errors = 100 * np.abs(predicted / truth - 1)
    report = Report(
        n_fit=n_fit,
        n_held_out=len(measured),
        mape=float(errors.mean()),
        max_error=float(errors.max()),
        tau=_tau(predicted, truth),
        split_half=100 * float(np.mean([m.split_half for m in measured])),
        disturbed=100 * timings.disturbed,
        drift=100 * timings.drift,
        is_valid=True,
        reasons=(),
        held_out=tuple((float(a), float(b)) for a, b in zip(truth, predicted, strict=True)),
        minutes=minutes,
    )
    reasons = doubts(report)
    return replace(report, is_valid=not reasons, reasons=reasons)


def doubts(report: Report) -> tuple[str, ...]:
    """Return why a table with these figures is not valid, a sentence each; none where it is.

    It is judged by its outcome alone: a busy machine makes measuring slow and its truth noisy, but what was timed beside a
    reference holds (measured, experiments/results/latency.md). Asked are

    - a mean error on held-out networks of at most 5 %, or 2.5 times what they repeat to but not above 10 %;
    - Kendall's tau of at least 0.9 among the pairs that are clearly apart, if there are 20: the order of others is that of
      their noise, and of fewer a single one would decide;
    - a truth that repeats to 12 %, or nothing is known;
    - a reference that took neither twice nor half the time at the end.
    """
    max_mape = min(max(MAX_MAPE, 2.5 * report.split_half), MAPE_CEILING)
    found = []
    if not report.mape <= max_mape:
        found.append(f"mean error {report.mape:.1f} % on held-out networks is above {max_mape:.1f} %")
    pairs = report.clear_pairs
    if len(pairs) >= MIN_PAIRS and not pairs.mean() >= MIN_TAU:
        found.append(f"Kendall tau {pairs.mean():.3f} on held-out networks that are clearly apart is below {MIN_TAU:.3g}")
    if not report.split_half <= MAX_SPLIT_HALF:
        found.append(f"held-out networks repeat to {report.split_half:.1f} % only, not to {MAX_SPLIT_HALF:g} %")
    factor = 1 + report.drift / 100
    if not 1 / MAX_DRIFT <= factor <= MAX_DRIFT:
        found.append(f"the machine changed its speed: at the end the reference took {factor:.1f} times as long as before")
    return tuple(found)


def _tau(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return Kendall's tau; 0 where one side is constant and says nothing."""
    return float(np.nan_to_num(kendalltau(a, b).statistic))
