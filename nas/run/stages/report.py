"""Content of the report of a run: everything measured, and how far it can be trusted."""

import shlex
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.importance import FanovaImportanceEvaluator, get_param_importances

from nas.archive.storage import without_password
from nas.objectives.columns import Column, latencies, number_columns
from nas.report.recommended import recommendation_lines, recommended
from nas.report.results import round_lines
from nas.report.table import gains, validation_summary
from nas.search.acquisition import Scale
from nas.search.measurements import Measurements
from nas.search.order import ByLoss
from nas.search.pareto import hypervolume
from nas.tasks.metric import METRICS
from predictors import Features, assess, pair_effects
from search_spaces import SearchSpace
from search_spaces.graph.graph import Graph
from search_spaces.operators.conv import Conv, pair
from search_spaces.space.space import Genomes

if TYPE_CHECKING:
    from nas.run.base import BaseRun

N_IMPORTANT = 20  # choices that are shown
INACTIVE = "inactive"


def report_content(run: "BaseRun") -> dict[str, Any]:
    """Return the content of the report page, see `nas.report.page.render`.

    Args:
        run: It was searched.

    Raises:
        InvalidInputError: If it was not, or a file of it is damaged.
    """
    config, space = run.experiment, run.space
    front, uniform = run.front(), run.baselines()
    measured = run.measurements()
    metric = Column.of_objective(run.metric.name)
    objectives, columns, values = run.folder.objectives, number_columns(measured.values_frame()), measured[metric]
    title, by_loss = metric.quantity.title, isinstance(run.archives.order, ByLoss)
    ranked = METRICS[metric.quantity.loss].title if by_loss else title
    ranks = measured.ranked([metric])[:, 0]
    learned = Scale.of(ranks).forward(ranks) if by_loss else values
    axes = [*(column.name for column in latencies(front)), "size_bytes"]
    return {
        "title": f"{config.name}: networks for {next(iter(config.devices))}"
        if config.devices
        else f"{config.name}: networks",
        "folder": shlex.quote(str(run.folder.path)),
        "columns": [{"name": column.name, **_titled(column)} for column in columns],
        "limits": list(dict.fromkeys([*objectives, metric.name, *axes])),
        "x": next((name for name in objectives if name != metric.name), axes[0]),
        "y": metric.name,
        "metric": {"name": metric.metric, "title": title, "unit": metric.quantity.unit},
        "networks": _networks(measured, columns, front, uniform),
        "gains": gains(front, uniform),
        "recommended": _recommended(front, objectives),
        "latency": _latencies(run),
        "predictor": _predictor(space, measured.genomes, learned, ranked),
        "training": run.training_records(),
        "rounds": _rounds(run, front, metric.name),
        "importances": importances(space, measured.genomes, learned, f"validation {ranked}"),
        "pairs": _pairs(space, measured.genomes, learned),
        "hypervolume": _hypervolume(measured, objectives),
        "configuration": _shown(run),
    }


def _recommended(front: pd.DataFrame, objectives: Sequence[str]) -> list[str]:
    """Return the network that equal weights name, and what its neighbours on the front cost."""
    found = recommended(front, objectives, dict.fromkeys(objectives, 1.0))
    return recommendation_lines(front, objectives, found)


def _rounds(run: "BaseRun", front: pd.DataFrame, y: str) -> dict[str, Any]:
    """Return what rounds around the front cost and gained, and the fronts of all of them by the axes of the plot."""
    done, folder = run.folder.rounds.read(), run.folder
    x = next((name for name in folder.objectives if name != y), "")
    fronts = {"first front": folder.at(0).front(), **{f"round {r.number}": folder.at(r.number).front() for r in done}}
    shown = {name: rows for name, rows in fronts.items() if x in rows} if done and x in front else {}
    return {
        "words": round_lines(done, run.experiment.specialise.rounds, shlex.quote(str(folder.path))),
        "fronts": [
            {"name": name, "x": rows[x].tolist(), "y": rows[y].tolist(), "text": rows["id"].tolist()}
            for name, rows in shown.items()
        ],
    }


def _shown(run: "BaseRun") -> str:
    """Return the resolved experiment; a password of the database is masked, since the page is passed on."""
    text, url = (run.folder.path / "experiment.yaml").read_text(), run.experiment.archive
    return text.replace(url, without_password(url)) if url else text


def _titled(column: Column) -> dict[str, Any]:
    if column.is_spread:
        return {"title": column.title, "unit": "%", "digits": 1, "sign": 1}
    metric = column.quantity
    return {"title": column.title, "unit": metric.unit, "digits": metric.digits, "sign": metric.sign}


def _networks(
    measured: Measurements, columns: Sequence[Column], front: pd.DataFrame, uniform: pd.DataFrame
) -> list[dict[str, Any]]:
    tied = dict(zip(front["id"], front["tied"], strict=True))
    named = dict(zip(uniform["id"], uniform["baseline"], strict=True))
    percent = {column: 100 if column.is_spread else 1 for column in columns}
    rows = []
    for i, subnet in enumerate(measured.subnets):
        layers = [layer for layer, members in (("front", tied), ("baseline", named)) if subnet.id in members]
        rows.append(
            {
                "id": subnet.id,
                "layers": layers or ["measured"],
                "baseline": named.get(subnet.id),
                "tied": bool(tied.get(subnet.id, False)),
                "values": {column.name: percent[column] * float(measured[column][i]) for column in columns},
                "blocks": describe_blocks(subnet.graph),
            }
        )
    return rows


def describe_blocks(graph: Graph) -> list[dict[str, Any]]:
    """Return what is to be seen of each block of a network: name, channels, size of its result, kernel, number format."""
    blocks = []
    for name, nodes in graph.blocks.items():
        last = nodes[-1]
        kernels = [max(pair(node.kernel)) for node in nodes if isinstance(node, Conv)]
        channels, *size = last.shape or (1,)
        blocks.append(
            {
                "name": name.partition("@")[0],
                "channels": channels,
                "size": "x".join(map(str, size)) or "1x1",
                "kernel": max(kernels) if kernels and max(kernels) > 1 else None,
                "format": last.precision.name,
            }
        )
    return blocks


def _latencies(run: "BaseRun") -> list[dict[str, Any]]:
    return [
        {
            "name": table.device,
            "valid": table.report.is_valid,
            "verdict": validation_summary(table),
            "held_out": table.report.held_out,
            "column": latencies.name,
            "predicted": latencies.column.predicted.name,
        }
        for latencies, table in zip(run.latencies, run.tables(), strict=True)
    ]


def _predictor(space: SearchSpace, genomes: Genomes, values: np.ndarray, title: str) -> dict[str, Any]:
    found = assess(Features(space), genomes, values)
    if found is None:
        return {"words": f"Too few networks were measured to judge a predictor of the {title}.", "sizes": [], "taus": []}
    advice = found.curve.advice
    words = (
        f"Of the {title}, by {found.name}: {found.metrics.words}, each unseen by the fold that predicted it. "
        f"{advice[0].upper()}{advice[1:]}."
    )
    return {"words": words, "sizes": list(found.curve.sizes), "taus": list(found.curve.taus)}


def importances(space: SearchSpace, genomes: Genomes, values: np.ndarray, title: str) -> dict[str, Any]:
    """Return which choices matter most for a metric, by Optuna's fANOVA; an inactive choice counts as an option.

    Args:
        space: The space.
        genomes: Shape `(n, g)`.
        values: Of the metric, shape `(n,)`.
        title: Its name for people.

    Returns:
        `names` and `values`, the greatest last, and `words`.
    """
    if len(values) < 4 or np.ptp(values) == 0:
        return {"words": f"Too few different values of the {title} were measured to say.", "names": [], "values": []}
    options = [subnet.options for subnet in space.subnets(genomes)]
    columns = {choice.name: [str(chosen.get(choice.name, INACTIVE)) for chosen in options] for choice in space.named_choices}
    varied: dict[str, BaseDistribution] = {
        name: CategoricalDistribution(tuple(sorted(set(column)))) for name, column in columns.items() if len(set(column)) > 1
    }
    study = optuna.create_study()
    scaled = (values - values.min()) / np.ptp(values)  # trees take tiny variances, as of divergences, for none
    for i, value in enumerate(scaled):
        params = {name: columns[name][i] for name in varied}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=varied, value=float(value)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        found = get_param_importances(study, evaluator=FanovaImportanceEvaluator(n_trees=32, seed=0))
    top = list(found.items())[:N_IMPORTANT][::-1]
    words = f"Of {len(varied)} choices those that explain most of the {title} of {len(values)} measured networks."
    return {"words": words, "names": [name for name, _ in top], "values": [value for _, value in top]}


def _pairs(space: SearchSpace, genomes: Genomes, learned: np.ndarray) -> list[str]:
    """Return in words which pairs of neighbouring blocks matter, the options themselves aside."""
    found = pair_effects(space, genomes, learned)
    return [f"{each.name}: {each.effect:+.2g} ± {each.deviation:.1g}" for each in found]


def _hypervolume(measured: Measurements, objectives: Sequence[str]) -> dict[str, Any]:
    """Return the hypervolume after every measurement; a latency counts as predicted, since few were timed."""
    columns = [Column.from_name(name) for name in objectives]
    columns = [column.predicted if column.predicted in measured else column for column in columns]
    values = measured.minimized(columns)
    width = np.ptp(values, axis=0)
    scaled = (values - values.min(axis=0)) / np.where(width > 0, width, 1)
    volumes = [hypervolume(scaled[: n + 1], np.full(len(columns), 1.1)) for n in range(len(scaled))]
    words = f"By {', '.join(column.title for column in columns)}."
    return {"words": words, "values": [volume / volumes[-1] for volume in volumes]}
