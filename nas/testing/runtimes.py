"""Contract of a runtime."""

import numpy as np

from latency_tables.runtimes import RUNTIMES
from latency_tables.table.latency_model import empty_graph
from search_spaces.errors import HwnasError
from search_spaces.lowering import lower
from search_spaces.space.baselines import uniform_genome
from search_spaces.space.space import SearchSpace

TOLERANCES = {"float32": 1e-4, "w8a8": 0.05, "w4a4": 0.05}  # of the greatest output: a step of the last quantizer


def check_runtime(name: str, space: SearchSpace) -> None:
    """Check a registered runtime that is installed.

    It times, computes what onnxruntime computes, and refuses unknown options.

    Args:
        name: Under which it is registered.
        space: Its middle network is run in each format that it offers.
    """
    runtime = RUNTIMES.get(name)
    empty = lower(empty_graph()).SerializeToString()
    durations = runtime.build(empty, threads=1, options={})(7)
    assert durations.shape == (7,)
    assert (durations > 0).all()
    assert runtime.process >= 0
    assert runtime.version()
    for precision, tolerance in TOLERANCES.items():
        graph = space.subnet(uniform_genome(space, "middle", precision)).graph
        inputs = np.random.default_rng(0).random((1, *graph.input_shape)).astype(np.float32)
        model = lower(graph).SerializeToString()
        expected = RUNTIMES.get("onnxruntime").outputs(model, inputs)
        found = runtime.outputs(model, inputs)
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max(), f"{precision} differs"
    try:
        runtime.build(empty, threads=1, options={"no such": "x"})
    except HwnasError:
        return
    raise AssertionError("an unknown option is taken")
