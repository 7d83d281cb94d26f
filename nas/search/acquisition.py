"""What a measurement is worth before it is made: the hypervolume that a candidate is expected to add."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from nas.search.pareto import hypervolume, non_dominated

Floats = NDArray[np.float64]


def expected_gain(mean: Floats, deviation: Floats, measured: Floats, reference: Floats) -> Floats:
    """Return the expected gain in hypervolume of candidates whose two objectives are independent and normal.

    Args:
        mean: Predictions, shape `(k, 2)`; minimised.
        deviation: Their standard deviations, shape `(k, 2)`; 0 where an objective is known.
        measured: Objectives of what is there, shape `(n, 2)`.
        reference: The volume's upper corner, shape `(2,)`.

    Returns:
        Shape `(k,)`.

    Source:
        Emmerich et al. 2011 (CEC), the two-dimensional case: the front cuts the plane into strips, and within each the
        gain is a product of two one-dimensional expected improvements.
    """
    deviation = np.maximum(deviation, 1e-12)
    there = measured[(measured < reference).all(axis=1)]
    there = np.unique(there[non_dominated(there)], axis=0)  # ascending in the first objective, descending in the second
    left = np.concatenate([[-np.inf], there[:, 0]])
    right = np.concatenate([there[:, 0], reference[:1]])
    top = np.concatenate([reference[1:], there[:, 1]])
    total = np.zeros(len(mean))
    for low, high, roof in zip(left, right, top, strict=True):
        width = _improvement(high, mean[:, 0], deviation[:, 0])
        if np.isfinite(low):
            width = width - _improvement(low, mean[:, 0], deviation[:, 0])
        total += width * _improvement(roof, mean[:, 1], deviation[:, 1])
    return total


def _improvement(bound: float, mean: Floats, deviation: Floats) -> Floats:
    """Return the expectation of `max(bound - y, 0)` for normal `y`."""
    z = (bound - mean) / deviation
    found: Floats = deviation * (norm.pdf(z) + z * norm.cdf(z))
    return found


def choose_by_expected_gain(mean: Floats, deviation: Floats, measured: Floats, reference: Floats, n: int) -> list[int]:
    """Choose candidates one after another, each as if the ones before had turned out as predicted.

    Args:
        mean: As for `expected_gain`.
        deviation: As for `expected_gain`.
        measured: As for `expected_gain`.
        reference: As for `expected_gain`.
        n: How many to choose.

    Returns:
        Rows of `mean`.

    Source:
        The "kriging believer" of Ginsbourger et al. 2010.
    """
    free = np.ones(len(mean), dtype=bool)
    chosen: list[int] = []
    for _ in range(min(n, len(mean))):
        gain = expected_gain(mean, deviation, measured, reference)
        pick = int(np.argmax(np.where(free, gain, -1.0)))
        free[pick] = False
        chosen.append(pick)
        measured = np.vstack([measured, mean[pick]])
    return chosen


def choose_by_gain(candidates: Floats, measured: Floats, n: int) -> list[int]:
    """Choose candidates one after another, each the one that adds most hypervolume to what is there.

    Args:
        candidates: Predicted objectives, shape `(k, m)`, any number of them.
        measured: Objectives of what is there, shape `(n, m)`.
        n: How many to choose.

    Returns:
        Rows of `candidates`; when none adds anything, the nearest to adding come first.
    """
    everything = np.concatenate([measured, candidates])
    low, high = everything.min(axis=0), everything.max(axis=0)
    scale = np.where(high > low, high - low, 1.0)
    points, there = (candidates - low) / scale, (measured - low) / scale
    reference = np.full(points.shape[1], 1.1)
    there = there[non_dominated(there)]
    left = list(range(len(points)))
    chosen: list[int] = []
    while left and len(chosen) < n:
        volume = hypervolume(there, reference)
        gains = [hypervolume(np.vstack([there, points[i]]), reference) - volume for i in left]
        # Ties, mostly of no gain at all, go to the candidate least dominated by what is there.
        excess = [float(np.min(np.max(points[i] - there, axis=1))) for i in left]
        pick = min(range(len(left)), key=lambda k: (-round(gains[k], 12), excess[k]))
        there = np.vstack([there, points[left[pick]]])
        there = there[non_dominated(there)]
        chosen.append(left.pop(pick))
    return chosen
