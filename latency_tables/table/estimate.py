"""Estimates for blocks that there is no time to measure: which to time, and the latency of the others.

The transitions are always timed, with the two blocks of each. Of the other blocks those are taken, one after another, of
which the ones before tell least (the greatest posterior variance of a Gaussian process). What is left out is predicted from
its MACs, its elements and its format.

Source: greedy choice by posterior variance, Krause et al. 2008 (JMLR 9:235), section 4, without its second term.
"""

import warnings
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from latency_tables.table.latency_model import BEHIND, CALL
from search_spaces.costs import macs
from search_spaces.errors import InvalidInputError
from search_spaces.graph.graph import Graph
from search_spaces.graph.node import n_elements
from search_spaces.operators.conv import Conv
from search_spaces.operators.linear import Linear

NOISE = 1e-4  # variance of a timed block's logarithm: one per cent


def choose_parts(parts: Mapping[str, Graph], n: int) -> set[str]:
    """Return the names of at most `n` parts to time.

    Args:
        parts: By the names that `latency_model.iterate_parts` gives.
        n: At least as many as the transitions need.

    Raises:
        InvalidInputError: If `n` is smaller.
    """
    chosen = {CALL}
    for name in parts:
        if BEHIND in name:
            chosen |= {name, *name.split(BEHIND)[1:]}
    if n < len(chosen):
        raise InvalidInputError(
            f"the time allows {max(n, 0)} parts, but the transitions between blocks alone need {len(chosen)}; "
            "allow more time"
        )
    blocks = _blocks(parts)
    rows = describe_blocks([parts[name] for name in blocks])
    kernel = RBF(np.sqrt(rows.shape[1]))(rows)
    for name in [*(b for b in blocks if b in chosen), *([""] * (n - len(chosen)))]:
        index = blocks.index(name) if name else int(np.argmax(np.diag(kernel)))
        chosen.add(blocks[index])
        column = kernel[:, index]
        kernel = kernel - np.outer(column, column) / (column[index] + NOISE)
    return chosen


def estimate_parts(parts: Mapping[str, Graph], ms: Mapping[str, float]) -> dict[str, float]:
    """Return the milliseconds of the blocks that were not timed.

    Args:
        parts: Everything, by the names that `latency_model.iterate_parts` gives.
        ms: Of what was timed.
    """
    timed, wanted = [b for b in _blocks(parts) if b in ms], [b for b in _blocks(parts) if b not in ms]
    if not wanted:
        return {}
    rows = describe_blocks([parts[name] for name in [*timed, *wanted]])
    logs = np.log([ms[name] for name in timed])
    # A line finds the large trend, the process what bends away from it.
    ones = np.hstack([np.ones((len(rows), 1)), rows])
    line, *_ = np.linalg.lstsq(
        np.vstack([ones[: len(timed)], 0.1 * np.eye(ones.shape[1])]), np.append(logs, np.zeros(ones.shape[1])), rcond=None
    )
    kernel = ConstantKernel(0.1) * RBF(np.full(rows.shape[1], 3.0), (0.1, 1e3)) + WhiteKernel(NOISE, (1e-5, 1e-1))
    process = GaussianProcessRegressor(kernel, normalize_y=False, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a length at its bound: a feature that does not matter
        process.fit(rows[: len(timed)], logs - ones[: len(timed)] @ line)
    found = np.exp(ones[len(timed) :] @ line + process.predict(rows[len(timed) :]))
    return dict(zip(wanted, map(float, found), strict=True))


def describe_blocks(graphs: list[Graph]) -> NDArray[np.float64]:
    """Return what decides how long blocks take, standardised; shape `(n, features)`.

    MACs of dense, depthwise and linear layers, elements in, inside and out (logarithms), integer or not, clipped or not,
    number of nodes.
    """
    rows = []
    for graph in graphs:
        convs = [node for node in graph.nodes if isinstance(node, Conv)]
        integer = not graph.nodes[0].precision.is_float32
        rows.append(
            [
                np.log1p(macs([node for node in convs if node.groups == 1])),
                np.log1p(macs([node for node in convs if node.groups > 1])),
                np.log1p(macs([node for node in graph.nodes if isinstance(node, Linear)])),
                np.log1p(n_elements(graph.nodes[0])),
                np.log1p(sum(n_elements(node) for node in graph.nodes)),
                np.log1p(n_elements(graph.output)),
                float(integer),
                float(integer and graph.nodes[0].precision.activations.bits < 8),
                float(len(graph.nodes)),
            ]
        )
    table = np.array(rows)
    deviation = table.std(axis=0)
    standardised: NDArray[np.float64] = (table - table.mean(axis=0))[:, deviation > 0] / deviation[deviation > 0]
    return standardised


def _blocks(parts: Mapping[str, Graph]) -> list[str]:
    return [name for name in parts if name != CALL and BEHIND not in name]
