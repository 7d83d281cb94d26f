"""Validation of a latency table: its predictions against held-out networks."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from latency_tables.table.table import Report
from latency_tables.timing.measurement import Measurement
from latency_tables.timing.protocol import Timings

MAX_MAPE = 5.0  # percent
MAPE_CEILING = 10.0  # percent, however badly the truth repeats
MIN_TAU = 0.9
NOISY = 2.0  # percent: a truth that repeats to more than this exchanges neighbours by its noise
TAU_OF_NOISY = 0.85  # asked of such a truth
TAU_FLOOR = 0.6  # however little the order of the truth repeats
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
    split_half = 100 * float(np.mean([m.split_half for m in measured]))
    tau = _tau(predicted, truth)
    truth_tau = _tau(*np.array([m.halves for m in measured]).T)
    figures = {"mape": float(errors.mean()), "tau": tau, "split_half": split_half, "truth_tau": truth_tau}
    reasons = doubts(**figures, drift=100 * timings.drift)
    return Report(
        n_fit=n_fit,
        n_held_out=len(measured),
        **figures,
        max_error=float(errors.max()),
        disturbed=100 * timings.disturbed,
        drift=100 * timings.drift,
        is_valid=not reasons,
        reasons=reasons,
        held_out=tuple((float(a), float(b)) for a, b in zip(truth, predicted, strict=True)),
        minutes=minutes,
    )


def doubts(*, mape: float, tau: float, split_half: float, truth_tau: float, drift: float) -> tuple[str, ...]:
    """Return why a table with these figures is not valid, a sentence each; none where it is.

    It is judged by its outcome alone: a busy machine makes measuring slow and its truth noisy, but what was timed beside a
    reference holds (measured, experiments/results/latency.md).

    Args:
        mape: Mean error on held-out networks, percent: at most 5, or 2.5 times the split-half error but not above 10.
        tau: Kendall's tau on them: at least 0.9; where the truth repeats to more than 2 %, 0.85 or what its own order
            repeats to, but at least 0.6.
        split_half: To what the truth repeats, percent: at most 12, or nothing is known.
        truth_tau: Kendall's tau between the halves of the truth.
        drift: Change of the reference from the first round to the last, percent: at most to twice or half its time.
    """
    max_mape = min(max(MAX_MAPE, 2.5 * split_half), MAPE_CEILING)
    min_tau = MIN_TAU if split_half <= NOISY else max(TAU_FLOOR, min(TAU_OF_NOISY, truth_tau))
    found = []
    if not mape <= max_mape:
        found.append(f"mean error {mape:.1f} % on held-out networks is above {max_mape:.1f} %")
    if not tau >= min_tau:
        found.append(f"Kendall tau {tau:.3f} on held-out networks is below {min_tau:.3g}")
    if not split_half <= MAX_SPLIT_HALF:
        found.append(f"held-out networks repeat to {split_half:.1f} % only, not to {MAX_SPLIT_HALF:g} %")
    factor = 1 + drift / 100
    if not 1 / MAX_DRIFT <= factor <= MAX_DRIFT:
        found.append(f"the machine changed its speed: at the end the reference took {factor:.1f} times as long as before")
    return tuple(found)


def _tau(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return Kendall's tau; 0 where one side is constant and says nothing."""
    return float(np.nan_to_num(kendalltau(a, b).statistic))
