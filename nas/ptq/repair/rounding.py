"""Rounding: to the nearest integer, or so that what the layer gives changes least."""

from collections.abc import Callable

import numpy as np

from nas.ptq.layers import Doubles, Layer, Rounded
from search_spaces.precision.formats import NumberFormat
from search_spaces.registry import Registry

SHARES = np.linspace(0.5, 1.0, 26)  # of the greatest weight, as the greatest integer
DAMPING = 0.01  # of the mean of the diagonal
BLOCK = 128
MAX_CORRELATED = 512  # inputs of an output whose scale is searched with their correlations

ROUNDINGS: Registry[Callable[[Layer, NumberFormat], Rounded]] = Registry("rounding")


@ROUNDINGS.register("nearest")
def to_nearest(layer: Layer, number_format: NumberFormat) -> Rounded:
    """Return the layer rounded to the nearest integer, the greatest weight of each output the greatest integer."""
    scale = np.maximum(np.abs(layer.weight).max(axis=2).reshape(-1), 1e-12) / number_format.qmax
    return _rounded(layer, scale, number_format)


@ROUNDINGS.register("output_error")
def by_output_error(layer: Layer, number_format: NumberFormat) -> Rounded:
    """Return the layer rounded so that its outputs change least on its inputs.

    The scale of each output is that of least error of its outputs among clipped ones; then one input after the other is
    rounded, and what that changes is made up for by those behind it. Of 8 bits the nearest integers are as good.

    Source:
        GPTQ: Frantar et al. 2022, arXiv:2210.17323. Differs: scales are searched by output error, groups of a convolution
        are rounded at once.
    """
    if number_format.bits >= 8:
        return to_nearest(layer, number_format)
    correlations = _correlations(layer)
    scale = _best_scale(layer, number_format, correlations)
    groups, n_out, d = layer.weight.shape
    steps = scale.reshape(groups, n_out)
    upper = np.linalg.cholesky(np.linalg.inv(correlations)).swapaxes(1, 2)
    left, integers = layer.weight.copy(), np.zeros_like(layer.weight)
    for start in range(0, d, BLOCK):
        end = min(start + BLOCK, d)
        errors = np.zeros((groups, n_out, end - start))
        for j in range(start, end):
            column = np.clip(np.rint(left[:, :, j] / steps), -number_format.qmax, number_format.qmax)
            integers[:, :, j] = column
            errors[:, :, j - start] = (left[:, :, j] - column * steps) / upper[:, j, j, None]
            left[:, :, j + 1 : end] -= errors[:, :, j - start, None] * upper[:, None, j, j + 1 : end]
        if end < d:
            left[:, :, end:] -= errors @ upper[:, start:end, end:]
    return Rounded(integers, scale, layer.bias.copy())


def _rounded(layer: Layer, scale: Doubles, number_format: NumberFormat) -> Rounded:
    steps = scale.reshape(*layer.weight.shape[:2], 1)
    integers = np.clip(np.rint(layer.weight / steps), -number_format.qmax, number_format.qmax)
    return Rounded(integers, scale, layer.bias.copy())


def _correlations(layer: Layer) -> Doubles:
    """Return the damped second moments of the inputs, shape `(groups, d, d)`."""
    rows = layer.rows.astype(np.float64).swapaxes(0, 1)
    found = rows.swapaxes(1, 2) @ rows / rows.shape[1]
    d = found.shape[1]
    diagonal = np.einsum("gii->gi", found)
    floor = DAMPING * diagonal.mean(axis=1, keepdims=True) + 1e-10
    found[:, np.arange(d), np.arange(d)] = diagonal + floor
    return np.asarray(found)


def _best_scale(layer: Layer, number_format: NumberFormat, correlations: Doubles) -> Doubles:
    """Return for each output the scale whose rounding changes its result least, shape `(out,)`.

    Of many inputs their correlations are left out: that would take longer than all else.
    """
    is_large = correlations.shape[1] > MAX_CORRELATED
    squares = np.einsum("gii->gi", correlations)
    largest = np.maximum(np.abs(layer.weight).max(axis=2).reshape(-1), 1e-12) / number_format.qmax
    best: Doubles = largest.copy()
    least = np.full(len(largest), np.inf)
    for share in SHARES:
        tried = _rounded(layer, largest * share, number_format)
        change = tried.weight() - layer.weight
        weighed = change * squares[:, None] if is_large else change @ correlations
        error = np.einsum("god,god->go", weighed, change).reshape(-1)
        best[error < least] = (largest * share)[error < least]
        least = np.minimum(error, least)
    return best
