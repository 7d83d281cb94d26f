"""A new device from few measurements: rank and predict all networks from other devices' latencies.

The logarithm of a latency on the new device is a linear function of: the mean of the other devices' standardised logarithms
(with a slope of about one), how each of them deviates from that mean, and features of the networks such as operator counts.
The weights have Gaussian priors; their widths and the noise, which ten measurements cannot pin down, are averaged over a
small grid by their evidence. This is a Gaussian process with a linear kernel, and noise with heavy tails.

Source: other devices as a prior, Lee et al. 2021 (HELP), arXiv:2106.08630; Bayesian regression and evidence, Bishop 2006,
sections 3.3 to 3.5. Differs from the first: a closed form in place of meta-learned networks.
"""

import itertools

import numpy as np
from numpy.typing import NDArray

from search_spaces.errors import InvalidInputError

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

OFFSET, SLOPE = 2.0, 0.5  # prior deviations, in standard deviations of a device's logarithms; the slope's mean is 1
BY_DEVICE = (0.05, 0.1, 0.2, 0.4)  # prior deviation of the weight of each device's own deviation
BY_FEATURE = (0.05, 0.1, 0.2)  # of each standardised feature
NOISE = (0.05, 0.1, 0.2, 0.3, 0.5)
TYPICAL = (0.1, 0.1, 0.2)
FREEDOM = 4.0  # of Student's t: measurements are faulty now and then
ITERATIONS = 12
OUTLIER = 5.0  # robust standard deviations
N_CANDIDATES = 2000


def transfer(sources: Floats, features: Floats, chosen: Places, measured: Floats) -> Floats:
    """Predict the latencies of all networks on a new device.

    Args:
        sources: Milliseconds on other devices, shape `(n, devices)`, at least two devices.
        features: What is known of the networks, such as operator counts, shape `(n, features)`.
        chosen: Networks that were measured on the new device, shape `(k,)`, at least three; see `choose`.
        measured: Their milliseconds there, shape `(k,)`.

    Returns:
        Milliseconds on the new device, shape `(n,)`.

    Raises:
        InvalidInputError: If shapes disagree, too little is given, or a latency is not a positive number.
    """
    sources, features, measured = (np.asarray(array, dtype=np.float64) for array in (sources, features, measured))
    chosen = np.asarray(chosen)
    _check(sources, features)
    if len(chosen) != len(measured) or len(chosen) < 3:
        raise InvalidInputError(
            f"at least 3 networks must be measured, got {len(chosen)} networks and {len(measured)} latencies"
        )
    if not (np.isfinite(measured).all() and (measured > 0).all()):
        raise InvalidInputError("latencies must be positive numbers of milliseconds")
    logs = clean(np.log(sources))
    unit = float(logs.std(axis=0).mean())
    centre = float(np.median(np.log(measured)))
    mean, columns, groups = _describe(logs, features)
    values = (np.log(measured) - centre) / unit - mean[chosen]
    evidence, weights = [], []
    for by_device, by_feature, noise in itertools.product(BY_DEVICE, BY_FEATURE, NOISE):
        width = _widths(groups, by_device, by_feature)
        scaled = columns[chosen] * width
        bound, solved = _robust(scaled @ scaled.T, values, noise)
        evidence.append(bound)
        weights.append(width * (scaled.T @ solved))
    share = np.exp(np.array(evidence) - max(evidence))
    found: Floats = np.exp(centre + unit * (mean + columns @ (share @ np.array(weights) / share.sum())))
    return found


def choose(sources: Floats, features: Floats, k: int, rng: np.random.Generator) -> Places:
    """Choose the networks to measure on a new device: those that leave the least doubt about the others.

    Greedy: each in turn lowers the mean predictive variance most, over some random candidates.

    Args:
        sources: As for `transfer`.
        features: As for `transfer`.
        k: How many.
        rng: Draws the candidates.

    Returns:
        Places of the networks, shape `(k,)`, all different.

    Raises:
        InvalidInputError: If there are fewer than `k` networks, or the input is wrong.
    """
    sources, features = np.asarray(sources, dtype=np.float64), np.asarray(features, dtype=np.float64)
    _check(sources, features)
    if not 1 <= k <= len(sources):
        raise InvalidInputError(f"k must be in 1..{len(sources)}, got {k}")
    _, columns, groups = _describe(clean(np.log(sources)), features)
    candidates = rng.choice(len(columns), min(max(N_CANDIDATES, k), len(columns)), replace=False)
    rows = columns[candidates] * _widths(groups, *TYPICAL[:2])
    doubt = np.eye(rows.shape[1])
    free = np.ones(len(rows), dtype=bool)
    chosen = []
    for _ in range(k):
        shared = rows @ doubt
        own = (shared * rows).sum(axis=1)
        gain = ((shared @ rows.T) ** 2).sum(axis=1) / (own + TYPICAL[2] ** 2)
        index = int(np.argmax(np.where(free, gain, -1.0)))
        doubt = doubt - np.outer(shared[index], shared[index]) / (own[index] + TYPICAL[2] ** 2)
        free[index] = False
        chosen.append(index)
    picked: Places = candidates[chosen]
    return picked


def clean(logs: Floats) -> Floats:
    """Return logarithms of latencies in which impossible values are replaced by what the other devices say.

    Args:
        logs: Shape `(n, devices)`.
    """
    cleaned = logs.copy()
    for device in range(logs.shape[1]):
        others = np.delete(logs, device, axis=1)
        design = np.column_stack([np.ones(len(logs)), others.mean(axis=1)])
        line, *_ = np.linalg.lstsq(design, logs[:, device], rcond=None)
        residual = logs[:, device] - design @ line
        middle = np.median(residual)
        deviation = 1.4826 * np.median(np.abs(residual - middle))
        wrong = np.abs(residual - middle) > OUTLIER * max(deviation, 1e-6)
        cleaned[wrong, device] = (design @ line)[wrong]
    return cleaned


def _check(sources: Floats, features: Floats) -> None:
    if sources.ndim != 2 or sources.shape[1] < 2 or features.ndim != 2 or len(features) != len(sources):
        raise InvalidInputError(
            f"sources must have shape (n, devices >= 2) and features (n, f), got {sources.shape} and {features.shape}"
        )
    if not (np.isfinite(sources).all() and (sources > 0).all() and np.isfinite(features).all()):
        raise InvalidInputError("latencies must be positive numbers of milliseconds, and features numbers")


def _describe(logs: Floats, features: Floats) -> tuple[Floats, Floats, tuple[int, int]]:
    """Return the mean of the devices, the columns of the linear function, and how many are devices and features."""
    standardised = _standardise(logs)
    mean = standardised.mean(axis=1)
    deviations, described = standardised - mean[:, None], _standardise(features)
    columns = np.column_stack([np.ones(len(logs)), mean, deviations, described])
    return mean, columns, (deviations.shape[1], described.shape[1])


def _widths(groups: tuple[int, int], by_device: float, by_feature: float) -> Floats:
    """Return the prior deviation of every weight."""
    return np.repeat([OFFSET, SLOPE, by_device, by_feature], [1, 1, *groups])


def _robust(kernel: Floats, values: Floats, noise: float) -> tuple[float, Floats]:
    """Condition a Gaussian process on values whose noise is Student's t: what lies far off counts little.

    Args:
        kernel: Of the measured networks, shape `(k, k)`.
        values: Shape `(k,)`.
        noise: Scale of the noise.

    Returns:
        A bound of the logarithm of the evidence, and the values solved by the covariance, shape `(k,)`.

    Source:
        The noise as a scale mixture of normals, its precisions by expectation maximisation: Tipping and Lawrence 2005,
        "Variational inference for Student-t models" (Neurocomputing 69:123).
    """
    precision = np.ones(len(values))
    for _ in range(ITERATIONS):
        covariance = kernel + np.diag(noise**2 / precision)
        solved = np.linalg.solve(covariance, values)
        variance = np.diag(kernel) - np.einsum("ij,ji->i", kernel, np.linalg.solve(covariance, kernel))
        squared = ((values - kernel @ solved) ** 2 + variance) / noise**2
        precision = (FREEDOM + 1) / (FREEDOM + squared)
    fit = -0.5 * values @ solved - 0.5 * np.linalg.slogdet(covariance)[1]
    bound = float(fit + 0.5 * FREEDOM * (np.log(precision) - precision).sum())
    return bound, np.asarray(solved, dtype=np.float64)


def _standardise(table: Floats) -> Floats:
    deviation = table.std(axis=0)
    standardised: Floats = (table - table.mean(axis=0))[:, deviation > 0] / deviation[deviation > 0]
    return standardised
