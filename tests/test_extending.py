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
from nas.data import DATASETS, load_dataset
from nas.export.targets.torch_module import module_source
from nas.objectives.objective import OBJECTIVES
from nas.objectives.signals import SIGNALS
from nas.objectives.supernet_evaluator import SupernetEvaluator
from nas.search import search
from nas.search.strategies import STRATEGIES
from nas.supernet.deploy import DeployedLayers
from nas.supernet.executor import execute
from nas.tasks import METRICS, TASKS
from nas.tasks.classification import Classification
from nas.testing import check_dataset, check_objective, check_task
from nas.training.samplers import SAMPLERS, Moment
from nas.training.schedule import Schedule
from predictors import PREDICTORS, Features
from search_spaces import Choice, TabularSpace
from search_spaces.graph.graph import Graph
from search_spaces.graph.signature import signature
from search_spaces.lowering import lower, random_weights
from search_spaces.operators import OPERATORS
from search_spaces.space.baselines import uniform_genome

TEXT = (Path(__file__).parents[1] / "docs" / "extending.md").read_text()
BLOCKS = dict(re.findall(r"```python (\w+)\n(.*?)```", TEXT, flags=re.S))
SPACE = TabularSpace([Choice(f"c{i}", (1, 2, 3)) for i in range(5)])


@pytest.fixture(autouse=True)
def registries():
    """Leave the registries as they were."""
    kept = [
        (registry, dict(registry._entries))
        for registry in (OPERATORS, RUNTIMES, STRATEGIES, SAMPLERS, PREDICTORS, DATASETS, TASKS, OBJECTIVES)
    ]
    metrics = dict(METRICS)
    yield
    for registry, entries in kept:
        registry._entries = entries
    METRICS.clear()
    METRICS.update(metrics)
    sys.modules.pop("search_spaces.operators.elu", None)


def run(name, module="block"):
    scope = types.ModuleType(module)
    sys.modules[module] = scope
    exec(BLOCKS[name], scope.__dict__)
    return scope


def measure(genomes):
    return {"error": ((genomes - 1.0) ** 2).sum(axis=1), "cost": genomes.sum(axis=1).astype(float)}


def test_every_block_is_tested():
    blocks = {
        "contract",
        "data",
        "objective",
        "metric",
        "operator",
        "torch",
        "runtime",
        "strategy",
        "sampler",
        "signal",
        "predictor",
    }
    assert set(BLOCKS) == blocks


def test_the_contract_is_importable():
    run("contract")


def test_a_data_set_in_one_file():
    run("data")
    check_dataset("stripes")
    assert load_dataset("stripes").facts["classes"] == ("across", "along")


def test_an_objective_in_one_file(tiny_space):
    run("objective")
    check_objective("float_blocks", tiny_space)
    largest = uniform_genome(tiny_space, "largest", "float32")
    assert OBJECTIVES.get("float_blocks")(tiny_space)(largest[None]).tolist() == [4]


def test_a_metric_in_one_file(evaluator, digits):
    run("metric")
    check_task("top3", digits)
    supernet = evaluator.supernet
    found = SupernetEvaluator(supernet, TASKS.get("top3").of(digits), digits, n_calibration=250)
    subnets = supernet.space.subnets(supernet.space.sample(2, np.random.default_rng(0)))
    values = found.evaluate(subnets, "test")
    assert (values["top3_accuracy"] > 100 - values["error"]).all()


def test_a_metric_that_is_maximised_is_turned_once(rng):
    run("metric")

    def accuracy(genomes):
        return {"top3_accuracy": 100 - 5.0 * np.abs(genomes - 1).sum(axis=1), "macs": genomes.sum(axis=1) * 1.0}

    result = search(SPACE, accuracy, n_measurements=60, rng=rng)
    assert result.front["top3_accuracy"].max() == 100
    assert result.front["macs"].min() == 0
    values = result.archive[["top3_accuracy", "macs"]].to_numpy() * [-1, 1]
    for row in result.front[["top3_accuracy", "macs"]].to_numpy() * [-1, 1]:
        assert not ((values <= row).all(axis=1) & (values < row).any(axis=1)).any()


def test_an_operator_in_two_files(rng):
    run("operator", "search_spaces.operators.elu")
    run("torch")
    kind = OPERATORS.get("elu")
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
    assert signature(example) == "input 3x4x5 | elu 3x4x5 (0)"


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
    result = search(SPACE, measure, n_measurements=40, options={"predictors": "neighbours"}, rng=rng)
    assert set(result.predictors.values()) == {"neighbours"}


def test_a_signal_in_one_file(trained, digits, rng):
    run("signal")
    evaluator = SupernetEvaluator(trained, Classification.of(digits), digits)
    signal = SIGNALS.get("mean_weight")(evaluator)
    genomes = trained.space.sample(5, rng)
    assert (signal.values(genomes) > 0).all()
    features = Features(trained.space).with_signals((signal,))
    assert features(genomes).shape == (5, len(features))


def test_a_sampler_is_one_file(tiny_space, rng):
    run("sampler")
    genomes = SAMPLERS.build("small", {"share": 0.6}).draw(Moment(tiny_space, Schedule(n_random=3), 0.0), rng)
    assert 2 <= len(genomes) <= 4
    assert (tiny_space.canonicalize(genomes) == genomes).all()
