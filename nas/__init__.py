"""hwnas: Pareto-optimal quantized networks for your device.

    import nas

    run = nas.Run.create("experiments/digits.yaml")   # or nas.open_run("runs/digits")
    run.run()
    run.front(max={"latency_ms": 0.05})
    run.export(run.best_id(), "my_model")

`nas.optimize` searches a space of your own by evaluators of your own. Everything here is imported on first use, so that
importing this package loads nothing heavy.
"""

from importlib import import_module
from typing import Any

_PLACES = {
    "Adoption": "nas.run.adoption",
    "Evaluator": "nas.objectives.evaluator",
    "Experiment": "nas.run.experiment",
    "Metric": "nas.tasks.metric",
    "Run": "nas.run.run",
    "Task": "nas.tasks.task",
    "adopt": "nas.run.adopt",
    "best_within": "nas.search.milp",
    "exact_front": "nas.search.exact",
    "load_dataset": "nas.data.load",
    "open_run": "nas.run.open",
    "optimize": "nas.search.optimization",
    "plot": "nas.report.plots",
}

__all__ = [*_PLACES]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'nas' has no attribute '{name}'")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
