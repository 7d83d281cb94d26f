"""Provenance of an exported subnet: its numbers, and how it was found."""

import importlib.metadata
from typing import Any

import pandas as pd

from latency_tables.table.table import LatencyTable
from nas.report.table import validation_summary
from nas.run.experiment import Experiment
from nas.run.folder import VERSIONED, RunFolder
from search_spaces.space.space import SearchSpace


def recorded(run: RunFolder, space: SearchSpace, subnet_id: str) -> dict[str, Any]:
    """Return the numbers that a run's front or baselines hold of a subnet, by column; none where they do not hold it."""
    facts: dict[str, Any] = {}
    for table in (run.baselines(), run.front()):
        for row in table[table["id"] == subnet_id].to_dict("records"):
            named = {str(key): value for key, value in row.items()}
            facts = {k: v for k, v in named.items() if k not in space.gene and k != "id" and not pd.isna(v)}
    return facts


def provenance(
    experiment: Experiment, space: SearchSpace, table: LatencyTable | None, *, n_measured: int, finetuned: int = 0
) -> dict[str, Any]:
    """Return how a subnet was found, as `subnet.json` holds it under `found`.

    Args:
        experiment: Of the run.
        space: Its space, in the formats of the experiment.
        table: Its latency table, if it has one.
        n_measured: Networks that were measured.
        finetuned: Epochs for which the subnet was trained on by itself.
    """
    search, training = experiment.search, experiment.training
    return {
        "experiment": experiment.name,
        "space_size": float(space.size),
        "strategy": search.strategy.name,
        "objectives": list(search.objectives),
        "max": dict(search.max),
        "min": dict(search.min),
        "n_measured": n_measured,
        "seed": experiment.seed,
        "plugins": experiment.plugin_files,
        "epochs": {"float": training.float_epochs, "quantized": training.quantized_epochs, "alone": finetuned},
        "latency_table": validation_summary(table, advise=False) if table else "no latency table",
        "packages": {name: importlib.metadata.version(name) for name in VERSIONED},
    }
