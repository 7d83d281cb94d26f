"""What is compared of one commit: the probe that `before_after.py` starts on the code of each.

    PYTHONPATH=CHECKOUT python -P experiments/benchmarks/probe.py ANSWER.json [--exact]

Modules and names move between commits, so the probe looks for each in several places: `PLACES` and `RENAMED` below.
"""

import hashlib
import importlib
import inspect
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

PLACES = {
    # What the probe uses, and where it may stand: a module, or `module:name` where the name has changed too.
    "SPACES": ("search_spaces",),
    "signature": ("search_spaces",),
    "cost_table": ("search_spaces",),
    "graph_costs": ("search_spaces",),
    "macs": ("search_spaces.costs",),
    "iterate_parts": ("latency_tables.table.latency_model", "latency_tables.pricing"),
    "LatencyTable": ("latency_tables.table.table", "latency_tables.table"),
    "Measurement": ("latency_tables.timing.measurement", "latency_tables.timing"),
    "TrainingConfig": ("nas.run.experiment", "nas.config", "nas.training.schedule:Schedule"),
    "load_dataset": ("nas.data.load", "nas.data"),
    "Supernet": ("nas.supernet.supernet", "nas.supernet"),
    "train": ("nas.training.trainer",),
    "Evaluator": ("nas.objectives.supernet_evaluator:SupernetEvaluator", "nas.objectives.evaluator", "nas.evaluation"),
    "classes": ("search_spaces",),
    "Classification": ("nas.tasks.classification",),
    "search": ("nas.search.study", "nas.search.loop", "nas.search"),
    "evolve": ("nas.search.evolution.evolve", "nas.search.evolution", "nas.search"),
    "exact_front": ("nas.search.exact", "nas.search"),
}
RENAMED = {
    # Names of arguments, attributes and tensors as the probe writes them, and what else they were or are called.
    "undisturbed": ("is_clean",),
    "log_steps": ("log_scales",),
    "step_is_set": ("scale_is_set",),
    "image_shape": ("input_shape",),
    "pixel_statistics": ("input_statistics",),
    "set_pixel_statistics": ("set_input_statistics",),
}
SPACE = "mobilenet-digits"
COEFFICIENTS = (0.002, 1.0, 2.0, 0.0, 0.001, 1.0, 0.8, 0.0005)  # integers are slower, or they would win in everything
N_SAMPLED = 200  # networks of each space
SPEEDS = {
    # Name: what it is called in the table, its unit, and whether more is better.
    "train_float": ("training, float epoch", "images/s", True),
    "train_quantized": ("training, quantized epoch", "images/s", True),
    "predict_ms": ("`predict_ms` of 100,000 networks", "ms", False),
    "evolve": ("`evolve`, population 100, 60 generations", "ms", False),
    "exact_front": ("`exact_front` of bytes and MACs", "ms", False),
    "exact_front_ms": ("`exact_front` of latency and bytes", "ms", False),
}


def find(symbol: str, *places: str) -> Any:
    """Return what a commit calls `symbol`: of the first place that has it and lies in the folder under test.

    Args:
        symbol: A name.
        places: Modules, or `module:name` where the name is another one.

    Raises:
        ImportError: If no place has it.
    """
    root = Path(os.environ["PYTHONPATH"]).resolve()
    for place in places:
        module, _, name = place.partition(":")
        try:
            imported = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if not module.startswith(str(error.name)):  # it is there, and needs something that is not
                raise
            continue
        mine = Path(str(imported.__file__)).resolve().is_relative_to(root)  # not of an installed copy
        if mine and hasattr(imported, name or symbol):
            return getattr(imported, name or symbol)
    raise ImportError(f"'{symbol}' is in none of {places}: write where it has moved to into PLACES")


def found(symbol: str) -> Any:
    """Return what this commit calls `symbol`, a key of `PLACES`."""
    return find(symbol, *PLACES[symbol])


def call(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    """Call a function with keywords as this commit names them, see `RENAMED`."""
    known = inspect.signature(function).parameters
    named = {}
    for keyword, value in keywords.items():
        names = [name for name in (keyword, *RENAMED.get(keyword, ())) if name in known]
        if not names:
            raise TypeError(f"{function} takes no '{keyword}', but {list(known)}: write its name into RENAMED")
        named[names[0]] = value
    return function(*arguments, **named)


def attribute(thing: Any, name: str) -> Any:
    """Return an attribute as this commit names it, see `RENAMED`."""
    for each in (name, *RENAMED.get(name, ())):
        if hasattr(thing, each):
            return getattr(thing, each)
    raise AttributeError(f"{type(thing)} has no '{name}': write its name into RENAMED")


def as_written(name: str) -> str:
    """Return the name under which the probe compares a tensor, see `RENAMED`."""
    return next((written for written, names in RENAMED.items() if name in names), name)


def network(space: Any, genome: np.ndarray) -> tuple[str, Any]:
    """Return id and graph of a network, which was called an architecture once."""
    named = (space.subnet if hasattr(space, "subnet") else space.architecture)(genome)
    return named.id, named.graph if hasattr(named, "graph") else space.graph(named)


def probe(folder: Path, *, exact: bool) -> dict[str, Any]:
    """Return everything that is compared: `exact` by name of the part (few if they are not asked for), and `speeds`."""
    import torch

    torch.set_num_threads(1)
    data = found("load_dataset")("digits", n_val=360, seed=0)
    build = found("SPACES").get(SPACE)
    outputs = {"n_classes": 10} if "n_classes" in inspect.signature(build).parameters else {"outputs": found("classes")(10)}
    space = build(input_shape=attribute(data, "image_shape"), **outputs)
    table = invented_table(space)
    parts: dict[str, Any] = {}
    supernet, parts["weights"], speeds = trained(space, data, folder)
    if exact:
        parts |= {f"space {name}": describe_space(found("SPACES").get(name)()) for name in found("SPACES")}
        parts |= searched(space, table, found("Evaluator")(supernet.eval(), *task_of(data), data))
    fronts, more = fronts_of_costs(space, table)
    return {"exact": parts | fronts, "speeds": speeds | more}


def describe_space(space: Any) -> dict[str, Any]:
    """Return ids, signatures and costs of sampled networks, the costs by table too, and the names of all parts."""
    genomes = space.sample(N_SAMPLED, np.random.default_rng(0))
    ids, graphs = zip(*(network(space, genome) for genome in genomes), strict=True)
    costs = [found("graph_costs")(graph) for graph in graphs]
    return {
        "ids": ids,
        "signatures": {i: digest(found("signature")(graph.nodes).encode()) for i, graph in zip(ids, graphs, strict=True)},
        "costs": dict(zip(ids, costs, strict=True)),
        "costs by table": {name: found("cost_table")(space, name)(genomes).tolist() for name in costs[0]},
        "parts": [name for name, _ in found("iterate_parts")(space)],
    }


def invented_table(space: Any) -> Any:
    """Return a latency table of which nothing was measured: times follow from the operations and the name of each part."""
    measurements = {}
    for name, graph in found("iterate_parts")(space):
        share = int(digest(name.encode())[:8], 16) / 16**8
        ms = 0.004 + 2e-8 * found("macs")(graph.nodes) * (1 + share)
        measurements[name] = call(found("Measurement"), rounds=(ms,), undisturbed=(True,))
    return call(
        found("LatencyTable"),
        device="invented",
        fingerprint={},
        space=space.name,
        measurements=measurements,
        estimated={},
        reference_ms=1.0,
        coefficients=COEFFICIENTS,
        report=None,
    )


def task_of(data: Any) -> tuple[Any, ...]:
    """Return the task of a data set, or nothing of a commit that knew no tasks."""
    try:
        return (found("Classification").of(data),)
    except ImportError:
        return ()


def trained(space: Any, data: Any, folder: Path) -> tuple[Any, dict[str, str], dict[str, list[float]]]:
    """Train twice from the same seed; return the supernet, digests of its weights, and images a second.

    Raises:
        RuntimeError: If the second training ends with other weights than the first: then nothing can be compared.
    """
    import torch

    plan = {"float_epochs": 2, "quantized_epochs": 1, "compile": False}
    if (schedule_kind := found("TrainingConfig")).__name__ == "Schedule":
        schedule = schedule_kind(**plan, warmup_epochs=2)
    else:
        schedule = attribute(call(schedule_kind, **plan), "to_schedule")()
    n_training = data.size("train") if hasattr(data, "size") else len(data.x_train)
    speeds: dict[str, list[float]] = {"train_float": [], "train_quantized": []}
    ends: list[dict[str, str]] = []
    for i in range(2):
        supernet = found("Supernet")(space, torch.Generator().manual_seed(0))
        attribute(supernet, "set_pixel_statistics")(*attribute(data, "pixel_statistics")())
        times: list[float] = []
        settings = {"seed": 0, "checkpoint": folder / f"{i}.safetensors", "identity": {}}
        settings["log"] = lambda _, times=times: times.append(time.perf_counter())  # called after every epoch
        call(found("train"), supernet, *task_of(data), data, schedule, **settings)
        speeds["train_float"].append(n_training / (times[1] - times[0]))  # the first epoch warms up
        speeds["train_quantized"].append(n_training / (times[2] - times[1]))
        ends.append({as_written(name): digest(t.numpy().tobytes()) for name, t in supernet.state_dict().items()})
    if ends[0] != ends[1]:
        raise RuntimeError("two trainings from one seed gave different weights")
    return supernet, ends[0], speeds


def searched(space: Any, table: Any, evaluator: Any) -> dict[str, Any]:
    """Return the errors of 20 networks, and what a search of 40 measurements measured and found."""
    sampled = space.sample(20, np.random.default_rng(1))
    cheap = {"latency_ms": attribute(table, "factor_table")(space), "size_bytes": found("cost_table")(space, "size_bytes")}
    result = call(
        found("search"),
        space,
        evaluator.measure,
        cheap=cheap,
        n_measurements=40,
        strategy="predictor",
        rng=np.random.default_rng(0),
    )
    front = []
    for row in result.front.to_dict("records"):
        options = tuple((choice.name, row[choice.name]) for choice in space.choices if row[choice.name] is not None)
        values = {name: float(row[name]) for name in ("error", *cheap)}
        front.append({"options": str(options), **values})
    measured = [network(space, genome)[0] for genome in result.genomes]
    return {
        "errors": dict(
            zip([network(space, each)[0] for each in sampled], evaluator.measure(sampled)["error"].tolist(), strict=True)
        ),
        "search, measured": dict(zip(measured, result.archive["error"].tolist(), strict=True)),
        "search, order": measured,
        "search, front": front,
    }


def fronts_of_costs(space: Any, table: Any) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """Return predictions and fronts of cheap costs, and how long each took, in milliseconds."""
    genomes = space.sample(100_000, np.random.default_rng(2))
    costs = {name: found("cost_table")(space, name) for name in ("size_bytes", "macs")}
    cheap = {"latency_ms": attribute(table, "factor_table")(space), "size_bytes": costs["size_bytes"]}
    predicted, predict_times = timed(lambda: attribute(table, "predict_ms")(space, genomes), 9)
    speeds = {"predict_ms": predict_times}
    fronts: dict[str, Any] = {
        "predicted latencies": {"first": predicted[:20].tolist(), "digest": digest(predicted.tobytes())}
    }
    functions = {
        "evolve": lambda: call(found("evolve"), space, cheap, population=100, generations=60, rng=np.random.default_rng(0)),
        "exact_front": lambda: found("exact_front")(space, costs),
        "exact_front_ms": lambda: found("exact_front")(space, cheap),
    }
    for name, function in functions.items():
        front, speeds[name] = timed(function, 3)
        values = dict(zip([network(space, each)[0] for each in front.genomes], front.values.tolist(), strict=True))
        fronts[f"front: {SPEEDS[name][0]}"] = values
    return fronts, speeds


def timed(function: Callable[[], Any], n: int) -> tuple[Any, list[float]]:
    """Return what a function gives, and the milliseconds of each of `n` calls after a first one that does not count."""
    result, times = function(), []
    for _ in range(n):
        started = time.perf_counter()
        function()
        times.append(1000 * (time.perf_counter() - started))
    return result, times


def digest(content: bytes) -> str:
    """Return 16 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()[:16]


def main() -> None:
    """Answer what `run_probe` asks."""
    # An editable install would give modules that this commit does not have.
    sys.meta_path[:] = [f for f in sys.meta_path if not getattr(f, "__module__", "").startswith("__editable__")]
    answer = Path(sys.argv[1])
    answer.write_text(json.dumps(probe(answer.parent, exact="--exact" in sys.argv)))


if __name__ == "__main__":
    main()
