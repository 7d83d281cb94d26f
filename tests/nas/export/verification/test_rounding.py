"""What float32 may lose is told by `Node.magnitude`, however unlike the values are that are added up."""

import numpy as np
import pytest

from latency_tables.runtimes.onnxruntime import open_session
from nas.export.verification.language import OPERATOR_TOLERANCE, ROUNDINGS
from nas.testing.operators import GROUPED, in_format
from search_spaces.lowering import lower, random_weights
from search_spaces.operators import OPERATORS

CASES = [
    *(("project", scheme) for scheme in ("float32", *GROUPED)),
    *((name, "float32") for name in ("causalattention", "swiglu", "rmsnorm", "residual")),
]


def computed(name, scheme, rng):
    """Return a graph, weights, values hundreds of times apart for each input, and what onnxruntime makes of them."""
    graph = in_format(OPERATORS.get(name).examples()[0], scheme)
    weights = random_weights(graph, rng)
    given = {
        node.name: (rng.standard_normal((4, *node.shape)) * np.exp(2 * rng.standard_normal(node.shape))).astype(np.float32)
        for node in graph.inputs
    }
    (found,) = open_session(lower(graph, weights, batch="n").SerializeToString()).run(None, given)
    return graph, weights, given, found


def off(graph, weights, given, found):
    """Return the greatest difference from the reference in units of what is allowed."""
    node = graph[graph.output.inputs[0]] if graph.output.op == "output" else graph.output
    taken = [given[name].astype(np.float64) for name in node.inputs]
    expected = node.compute(taken, weights)
    return float((np.abs(found - expected) / (ROUNDINGS * node.magnitude(taken, weights, expected) + 1e-30)).max())


@pytest.mark.parametrize(("name", "scheme"), CASES)
def test_operators_lose_no_more_than_their_magnitude_says(name, scheme):
    for seed in range(4):
        assert off(*computed(name, scheme, np.random.default_rng(seed))) < 1


@pytest.mark.parametrize("scheme", GROUPED)
def test_a_single_integer_that_differs_is_more(scheme):
    graph, weights, given, found = computed("project", scheme, np.random.default_rng(0))
    name = "y/weight"
    codes = weights[name].copy()
    codes[3, 7] += 1 if codes[3, 7] < 0 else -1
    assert off(graph, {**weights, name: codes}, given, found) > 100


def test_it_is_asked_only_where_it_is_more_than_what_is_allowed_of_ordinary_values():
    graph, weights, _, _ = computed("project", "w8a8d-g16", np.random.default_rng(0))
    x = np.random.default_rng(1).standard_normal((4, 3, 64))
    expected = graph.output.compute([x], weights)
    ordinary = np.sqrt(np.mean(expected**2))
    assert ROUNDINGS * graph.output.magnitude([x], weights, expected).mean() < OPERATOR_TOLERANCE * ordinary
