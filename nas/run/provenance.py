"""Provenance of an exported subnet: its numbers, and how it was found."""

import importlib.metadata
from collections.abc import Mapping
from typing import Any

import pandas as pd

from latency_tables.table.table import LatencyTable
from nas.report.table import validation_summary
from nas.run.folder import VERSIONED, RunFolder
from search_spaces.space.space import SearchSpace


def recorded(run: RunFolder, space: SearchSpace, subnet_id: str) -> dict[str, Any]:
    """Return the numbers that a run's front or baselines hold of a subnet, by column; none where they do not hold it."""
    facts: dict[str, Any] = {}
    for table in (run.baselines(), run.front()):
        for row in table[table["id"] == subnet_id].to_dict("records"):
            named = {str(key): value for key, value in row.items()}
            choices = {choice.name for choice in space.named_choices}
            facts = {k: v for k, v in named.items() if k not in choices and k != "id" and not pd.isna(v)}
    return facts


def provenance(
    run: RunFolder,
    space: SearchSpace,
    table: LatencyTable | None,
    *,
    n_measured: int,
    finetuned: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Return how a subnet was found, as `subnet.json` holds it under `found`.

    Args:
        run: The run, in the round whose weights are exported.
        space: Its space, in the formats of the experiment.
        table: Its latency table, if it has one.
        n_measured: Networks that were measured.
        finetuned: How the subnet was trained on by itself: `epochs`, `learning_rate`, `distillation`; None: it was not.
    """
    experiment, search = run.experiment, run.experiment.search
    earlier = [each.number for each in run.rounds.read() if each.pays and each.number < run.number]
    trained = [] if experiment.pretrained else [0, *earlier, run.number]
    schedules = [run.at(number).schedule for number in dict.fromkeys(trained)]
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
        "epochs": {
            "float": sum(each.float_epochs for each in schedules),
            "quantized": sum(each.quantized_epochs for each in schedules),
            "alone": int(finetuned["epochs"]) if finetuned else 0,
        },
        **({"finetuned": dict(finetuned)} if finetuned else {}),
        "latency_table": validation_summary(table, advise=False) if table else "no latency table",
        "packages": {name: importlib.metadata.version(name) for name in VERSIONED},
    }
