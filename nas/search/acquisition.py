"""Acquisition function: the hypervolume that a candidate is expected to add."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import norm

from nas.search.pareto import hypervolume, non_dominated

Floats = NDArray[np.float64]

N_SAMPLES = 8  # of the predictions, with three objectives and more
N_SHORTLISTED = 48  # candidates whose gain is then computed
ENOUGH = 9  # measurements from which quartiles say something
OUTLYING, FAULTY = 1.5, 3.0  # distances of the quartiles beyond them, as in Tukey's box plots


@dataclass(frozen=True)
class Scale:
    """The logarithm of a shifted objective: predictors learn on it, since errors and times vary by factors.

    Attributes:
        shift: Added first; 0 where all values are above 0.
        low: Least value on the scale; a measurement below it is taken for it.
        high: Greatest value on the scale.
    """

    shift: float = 0.0
    low: float = -np.inf
    high: float = np.inf

    @classmethod
    def of(cls, y: Floats) -> "Scale":
        """Return the scale for measured values of shape `(n,)`; its ends hold faulty measurements near the others."""
        smallest = float(y.min())
        shift = 0.0 if smallest > 0 else 0.05 * max(float(np.ptp(y)), 1.0) - smallest
        if len(y) < ENOUGH:
            return cls(shift)
        low, high = fences(np.log(y + shift), FAULTY)
        return cls(shift, float(low), float(high))

    def forward(self, y: Floats) -> Floats:
        """Return values on the scale."""
        scaled: Floats = np.clip(np.log(np.maximum(y + self.shift, 1e-12)), self.low, self.high)
        return scaled

    def inverse(self, z: Floats) -> Floats:
        """Return values of the objective."""
        values: Floats = np.exp(z) - self.shift
        return values

    def improvement(self, bound: float, mean: Floats, deviation: Floats) -> Floats:
        """Return the expectation of `max(bound - y, 0)` where y on the scale is normal, so that y is log-normal."""
        bound = bound + self.shift
        if bound <= 0:
            return np.zeros(mean.shape)
        z = (np.log(bound) - mean) / deviation
        expected: Floats = bound * ndtr(z) - np.exp(mean + deviation**2 / 2) * ndtr(z - deviation)
        return expected


def fences(values: Floats, width: float) -> tuple[Floats, Floats]:
    """Return the quartiles of each column, moved outwards by `width` times their distance, as in Tukey 1977; `(m,)` each."""
    lower, upper = np.quantile(values, [0.25, 0.75], axis=0)
    return lower - width * (upper - lower), upper + width * (upper - lower)


def reference_point(measured: Floats, scales: Sequence[Scale | None]) -> Floats:
    """Return the corner up to which hypervolume counts: the worst values that were measured, outliers left out.

    Args:
        measured: Objectives of what is there, shape `(n, m)`.
        scales: As for `choose_by_expected_gain`; outliers are looked for on the scale.
    """
    worst = measured.max(axis=0)
    if len(measured) >= ENOUGH:
        for j, scale in enumerate(scales):
            if scale:
                _, high = fences(scale.forward(measured[:, j]), OUTLYING)
                worst[j] = min(worst[j], float(scale.inverse(high)))
    reference: Floats = worst + 1e-9 * np.maximum(np.abs(worst), 1)
    return reference


@dataclass(frozen=True)
class Prediction:
    """An objective of some candidates: of each a mixture of normals, all members of equal weight.

    Attributes:
        means: Shape `(members, k)`; on the scale where there is one.
        deviations: Standard deviations, the same shape; 0 where the objective is known.
        scale: None: normal as it is.
    """

    means: Floats
    deviations: Floats
    scale: Scale | None = None

    @classmethod
    def known(cls, values: Floats) -> "Prediction":
        """Return the prediction of what is known, shape `(k,)`."""
        return cls(values[None], np.zeros((1, len(values))))

    @property
    def mean(self) -> Floats:
        """Mean of the mixture, shape `(k,)`."""
        mean: Floats = self.means.mean(axis=0)
        return mean

    @property
    def deviation(self) -> Floats:
        """Standard deviation of the mixture, shape `(k,)`."""
        deviation: Floats = np.sqrt((self.deviations**2).mean(axis=0) + self.means.var(axis=0))
        return deviation

    @property
    def believed(self) -> Floats:
        """The means as values of the objective, shape `(k,)`."""
        return self.scale.inverse(self.mean) if self.scale else self.mean

    def improvement(self, bound: float) -> Floats:
        """Return the expectation of `max(bound - y, 0)`, shape `(k,)`: the mean over the members."""
        improve = self.scale.improvement if self.scale else _normal_improvement
        found: Floats = improve(bound, self.means, np.maximum(self.deviations, 1e-12)).mean(axis=0)
        return found


def choose_by_expected_gain(
    objectives: Sequence[Prediction], measured: Floats, n: int, corner: Floats | None = None
) -> list[int]:
    """Choose candidates one after another, each as if the ones before had turned out as predicted.

    Args:
        objectives: Predictions of the same candidates; minimised.
        measured: Objectives of what is there, shape `(n, m)`.
        n: How many to choose.
        corner: Up to where objectives are of interest at most, shape `(m,)`; None: anywhere.

    Returns:
        Which candidates, distinct.

    Source:
        The "kriging believer" of Ginsbourger et al. 2010.
    """
    believed = np.column_stack([objective.believed for objective in objectives])
    reference = reference_point(measured, [objective.scale for objective in objectives])
    if corner is not None:
        reference = np.minimum(reference, corner + 1e-9 * np.abs(corner))
    free = np.ones(len(believed), dtype=bool)
    chosen: list[int] = []
    for _ in range(min(n, len(believed))):
        if len(objectives) == 2:
            gain = expected_gain(objectives, measured, reference)
        else:
            gain = sampled_gain(objectives, np.where(free[:, None], believed, np.inf), measured, reference)
        pick = int(np.argmax(np.where(free, gain, -np.inf)))
        free[pick] = False
        chosen.append(pick)
        measured = np.vstack([measured, believed[pick]])
    return chosen


def expected_gain(objectives: Sequence[Prediction], measured: Floats, reference: Floats) -> Floats:
    """Return the expected gain in hypervolume of candidates with two independent objectives.

    Args:
        objectives: Two.
        measured: Objectives of what is there, shape `(n, 2)`.
        reference: The volume's upper corner, shape `(2,)`.

    Returns:
        Shape `(k,)`.

    Source:
        Emmerich et al. 2011 (CEC), the two-dimensional case: the front cuts the plane into strips, and within each the
        gain is a product of two one-dimensional expected improvements.
    """
    first, second = objectives
    there = measured[(measured < reference).all(axis=1)]
    there = np.unique(there[non_dominated(there)], axis=0)  # ascending in the first objective, descending in the second
    ends = np.concatenate([there[:, 0], reference[:1]])
    roofs = np.concatenate([reference[1:], there[:, 1]])
    total, before = np.zeros(first.means.shape[1]), np.zeros(first.means.shape[1])
    for end, roof in zip(ends, roofs, strict=True):
        upto = first.improvement(end)
        total += (upto - before) * second.improvement(roof)
        before = upto
    return total


def _normal_improvement(bound: float, mean: Floats, deviation: Floats) -> Floats:
    """Return the expectation of `max(bound - y, 0)` for normal `y`."""
    z = (bound - mean) / deviation
    found: Floats = deviation * (norm.pdf(z) + z * norm.cdf(z))
    return found


def sampled_gain(objectives: Sequence[Prediction], believed: Floats, measured: Floats, reference: Floats) -> Floats:
    """Return the mean gain in hypervolume over samples of the predictions, any number of objectives.

    Args:
        objectives: As for `choose_by_expected_gain`; a mixture counts as the normal of its mean and deviation.
        believed: The predictions as objectives, shape `(k, m)`; infinite in rows that are no longer free.
        measured: Objectives of what is there, shape `(n, m)`.
        reference: The volume's upper corner, shape `(m,)`.

    Returns:
        Shape `(k,)`. Only the candidates that are dominated least are sampled; the others, and those that gain nothing, get
        minus the share of the range by which they are dominated, or lie beyond the corner, so that they are ranked too.
    """
    low = measured.min(axis=0)
    width = np.where(reference > low, reference - low, 1.0)
    there = measured[non_dominated(measured)]
    behind = np.min((believed[:, None] - there[None]) / width, axis=2).max(axis=1)  # how deep it is dominated
    behind = np.maximum(behind, ((believed - reference) / width).max(axis=1))  # or how far beyond the corner
    gain: Floats = -1 - np.nan_to_num(behind, posinf=1e9)
    shortlist = np.argsort(behind, kind="stable")[:N_SHORTLISTED]
    unit = norm.ppf((np.arange(N_SAMPLES) + 0.5) / N_SAMPLES)
    orders = [np.random.default_rng(j).permutation(N_SAMPLES) for j in range(len(objectives))]  # the same for all candidates
    moments = [(objective.mean, np.maximum(objective.deviation, 1e-12)) for objective in objectives]
    volume = hypervolume((there - low) / width, np.ones(len(width)))
    for i in shortlist:
        if not np.isfinite(behind[i]):
            continue
        drawn = [mean[i] + deviation[i] * unit[order] for (mean, deviation), order in zip(moments, orders, strict=True)]
        scaled = zip(objectives, drawn, strict=True)
        points = np.column_stack([each.scale.inverse(z) if each.scale else z for each, z in scaled])
        volumes = [hypervolume((np.vstack([there, p]) - low) / width, np.ones(len(width))) for p in points]
        gained = float(np.mean(volumes)) - volume
        gain[i] = gained if gained > 0 else gain[i]
    return gain
