"""Recommendation: one network of a front by what a user values, and how far the answer depends on the weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np
from numpy.typing import NDArray

from search_spaces.errors import InvalidInputError

Floats = NDArray[np.float64]

AUGMENTATION = 1e-3  # weight of the sum beside the greatest: of equally good worst objectives the others decide


@dataclass(frozen=True)
class Recommendation:
    """The network of a front that weights of objectives name.

    Attributes:
        row: Of the front.
        weights: By objective, as given.
        intervals: By objective: within which weights, the others as given, the same network is named.
        equals: Other rows of the front with the very same score.
    """

    row: int
    weights: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    equals: tuple[int, ...] = ()


@dataclass(frozen=True)
class Exchange:
    """What another network of a front gives and takes.

    Attributes:
        row: Of the other network.
        gained: Name of the objective that gets better, and by how much, above 0.
        lost: Name of the one that gets worse, and by how much, above 0.
    """

    row: int
    gained: tuple[str, float]
    lost: tuple[str, float]


def recommend(front: Floats, names: Sequence[str], weights: Mapping[str, float]) -> Recommendation:
    """Return the network with the least augmented Chebyshev distance from the best values of each objective.

    An objective counts as the share of its range on the front by which a network is worse than the best. One without a
    weight counts for nothing but a tie.

    Args:
        front: Non-dominated, minimised, shape `(n, m)`.
        names: Of its columns.
        weights: By name, 0 or more; only their ratios matter.

    Raises:
        InvalidInputError: If a weight is of no objective, negative or not finite, or none is above 0.

    Source:
        Steuer and Choo 1983, "An interactive weighted Tchebycheff procedure" (Mathematical Programming 26:326).
    """
    if unknown := [name for name in weights if name not in names]:
        raise InvalidInputError(f"weights are of objectives, which are {', '.join(names)}; got '{unknown[0]}'")
    if odd := {name: weight for name, weight in weights.items() if not isinstance(weight, Real)}:
        raise InvalidInputError(f"weights must be numbers, got {odd}")
    if bad := {name: weight for name, weight in weights.items() if not 0 <= weight < np.inf}:
        raise InvalidInputError(f"weights must be 0 or more and finite, got {bad}")
    if not any(weight > 0 for weight in weights.values()):
        raise InvalidInputError("at least one weight must be above 0")
    width = np.ptp(front, axis=0)
    shares = (front - front.min(axis=0)) / np.where(width > 0, width, 1.0)
    w = np.array([float(weights.get(name, 0.0)) for name in names])
    scores = _scores(shares, w / w.sum())
    row = int(scores.argmin())
    equals = tuple(int(i) for i in np.flatnonzero(np.isclose(scores, scores[row], rtol=0, atol=1e-12)) if i != row)
    intervals = {name: _interval(shares, w, list(names).index(name), row) for name in weights}
    return Recommendation(row, dict(weights), intervals, equals)


def exchanges(front: Floats, names: Sequence[str], row: int) -> list[Exchange]:
    """Return the marginal rates of a network: for each other objective, what it costs of the first one, and what it brings.

    Args:
        front: Minimised, shape `(n, m)`.
        names: Of its columns.
        row: Of the network.

    Returns:
        For each objective but the first at most two: the network of the front that saves most of it for what it loses of the
        first, and the one that gains most of the first for what it costs of it.
    """
    width = np.ptp(front, axis=0)
    change = (front - front[row]) / np.where(width > 0, width, 1.0)
    found = []
    for j in range(1, len(names)):
        for gained, lost in ((j, 0), (0, j)):
            open_rows = np.flatnonzero((change[:, gained] < 0) & (change[:, lost] > 0))
            if len(open_rows):
                best = int(open_rows[(change[open_rows, lost] / -change[open_rows, gained]).argmin()])
                gain, loss = (float(abs(front[best, k] - front[row, k])) for k in (gained, lost))
                found.append(Exchange(best, (names[gained], gain), (names[lost], loss)))
    return found


def _scores(shares: Floats, weights: Floats) -> Floats:
    weighted = shares * weights
    scores: Floats = weighted.max(axis=1) + AUGMENTATION * shares.sum(axis=1)
    return scores


def _interval(shares: Floats, weights: Floats, j: int, row: int) -> tuple[float, float]:
    """Return the ends of the weight `j` around its value between which a row keeps the least score.

    Scores are convex and piecewise linear in one weight with the others fixed, up to the common factor of their sum, so that
    the difference of two changes its sign only where their parts cross.
    """
    rest = np.delete(weights, j)
    worst = (np.delete(shares, j, axis=1) * rest).max(axis=1, initial=0.0)  # of the other objectives
    slope, sums = shares[:, j], AUGMENTATION * shares.sum(axis=1)

    def behind(weight: float) -> bool:
        total = weight + rest.sum()
        scores = np.maximum(worst, weight * slope) + total * sums
        return bool(scores[row] > scores.min() + 1e-12)

    points = {0.0}
    for other in range(len(shares)):
        difference = sums[row] - sums[other]
        for a in ((0.0, worst[row]), (slope[row], 0.0)):  # (slope, constant) of either part of the row's maximum
            for b in ((0.0, worst[other]), (slope[other], 0.0)):
                rise = a[0] - b[0] + difference
                level = a[1] - b[1] + difference * rest.sum()
                if abs(rise) > 1e-15 and (at := -level / rise) > 0:
                    points.add(float(at))
    ordered = sorted(points)
    low, high = 0.0, float("inf")
    for left, right in zip(ordered, [*ordered[1:], float("inf")], strict=True):
        middle = (left + right) / 2 if np.isfinite(right) else 2 * left + 1
        if behind(middle):
            if right <= weights[j]:
                low = right
            elif left >= weights[j]:
                high = left
                break
    return low, high
