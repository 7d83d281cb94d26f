"""Every block of docs/extending.md is run, as the file that it says it is."""

import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from latency_tables.device import Device
from latency_tables.runtimes import RUNTIMES
from latency_tables.table.measure import measure_graphs
from latency_tables.timing.protocol import Protocol
from nas.export.targets.torch_module import module_source
from nas.search import search
from nas.search.strategies import STRATEGIES
from nas.supernet.deploy import DeployedLayers
from nas.supernet.executor import execute
from predictors import PREDICTORS
from search_spaces import Choice, TabularSpace
from search_spaces.graph.graph import Graph
from search_spaces.graph.signature import signature
from search_spaces.lowering import lower, random_weights
from search_spaces.operators import OPERATORS

TEXT = (Path(__file__).parents[1] / "docs" / "extending.md").read_text()
BLOCKS = dict(re.findall(r"```python (\w+)\n(.*?)```", TEXT, flags=re.S))
SPACE = TabularSpace([Choice(f"c{i}", (1, 2, 3)) for i in range(5)])


@pytest.fixture(autouse=True)
def registries():
    """Leave the registries as they were."""
    kept = [(registry, dict(registry._entries)) for registry in (OPERATORS, RUNTIMES, STRATEGIES, PREDICTORS)]
    yield
    for registry, entries in kept:
        registry._entries = entries
    sys.modules.pop("search_spaces.operators.leaky", None)


def run(name, module="block"):
    scope = types.ModuleType(module)
    sys.modules[module] = scope
    exec(BLOCKS[name], scope.__dict__)
    return scope


def measure(genomes):
    return {"error": ((genomes - 1.0) ** 2).sum(axis=1), "cost": genomes.sum(axis=1).astype(float)}


def test_every_block_is_tested():
    assert set(BLOCKS) == {"operator", "torch", "runtime", "strategy", "predictor"}


def test_an_operator_in_two_files(rng):
    run("operator", "search_spaces.operators.leaky")
    run("torch")
    kind = OPERATORS.get("leakyrelu")
    (example,) = kind.examples()
    graph = Graph(example)
    x = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
    expected = graph.output.compute([x.astype(np.float64)], {})
    found = RUNTIMES.get("onnxruntime").outputs(lower(graph, batch=2).SerializeToString(), x)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(execute(graph, torch.from_numpy(x), DeployedLayers({})), expected, rtol=1e-5)
    scope = {"__file__": "model.py", "__name__": "exported"}
    exec(module_source(graph), scope)
    np.testing.assert_allclose(scope["Model"]({})(torch.from_numpy(x)), expected, rtol=1e-5)
    assert signature(example) == "input 3x4x5 | leakyrelu 3x4x5 (0)"


def test_a_runtime_in_one_file(tiny_space, rng):
    run("runtime")
    graph = tiny_space.subnets(tiny_space.sample(1, rng))[0].graph
    weights = random_weights(graph, rng)
    x = rng.standard_normal((1, *graph.input_shape)).astype(np.float32)
    model = lower(graph, weights).SerializeToString()
    answers = [RUNTIMES.get(name).outputs(model, x) for name in ("onnx-reference", "onnxruntime")]
    np.testing.assert_allclose(*answers, atol=0.1 * np.abs(answers[0]).max())
    device, quick = Device(backend="onnx-reference"), Protocol(rounds=2, seconds=1e-4, retry_budget=0)
    timings = measure_graphs({"net": graph}, graph, device, quick, {})
    assert timings.measurements["net"].ms > 0


def test_a_strategy_in_one_file(rng):
    run("strategy")
    result = search(SPACE, measure, n_measurements=40, strategy="wander", rng=rng)
    assert len(result.genomes) == 40
    assert result.front["error"].min() == 0


def test_a_predictor_in_one_file(rng):
    run("predictor")
    result = search(SPACE, measure, n_measurements=40, predictors="neighbours", rng=rng)
    assert set(result.predictors.values()) == {"neighbours"}
