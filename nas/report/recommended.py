"""Recommendations in words: the network that a preference names, how far it holds, and what its neighbours cost."""

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from nas.objectives.columns import Column, minimized_columns
from nas.search.recommendation import Exchange, Recommendation, exchanges, recommend
from search_spaces.errors import InvalidInputError


def recommended(front: pd.DataFrame, objectives: Sequence[str], weights: Mapping[str, float]) -> Recommendation:
    """Return the network that weights name, see `nas.search.recommendation.recommend`.

    Args:
        front: A row for each network.
        objectives: Its columns that are objectives.
        weights: By objective; that of a data metric may be called as in an experiment, `error` for `error_val`.

    Raises:
        InvalidInputError: If a weight is of no objective, or is none.
    """
    short = {Column.from_name(name).metric: name for name in reversed(objectives) if "@" not in name}
    named = {short.get(name, name): weight for name, weight in weights.items()}
    if len(named) < len(weights):
        raise InvalidInputError(f"each objective takes one weight, got {', '.join(weights)}")
    return recommend(minimized_columns(front, objectives), objectives, named)


def recommendation_lines(front: pd.DataFrame, objectives: Sequence[str], found: Recommendation) -> list[str]:
    """Return what is recommended and why, a sentence each."""
    weights = ", ".join(f"{_title(name)} {weight:g}" for name, weight in found.weights.items())
    lines = [f"{front['id'][found.row]} is recommended by the weights {weights}"]
    for name, (low, high) in found.intervals.items():
        upto = f"to {high:.3g}" if math.isfinite(high) else "upwards"
        lines.append(f"it stays for a weight of the {_title(name)} from {low:.3g} {upto}, the others as they are")
    if found.equals:
        lines.append(f"as good by these weights: {', '.join(front['id'][list(found.equals)])}")
    return [*lines, *exchange_lines(front, objectives, found.row)]


def exchange_lines(front: pd.DataFrame, objectives: Sequence[str], row: int) -> list[str]:
    """Return the marginal rates of a network along the front, a sentence each."""
    found = exchanges(minimized_columns(front, objectives), objectives, row)
    return [
        f"{_amount(front, row, each.lost)} more {_title(each.lost[0])} for {_amount(front, row, each.gained)} less "
        f"{_title(each.gained[0])}: {front['id'][each.row]}"
        if _is_minimized(each)
        else f"{_amount(front, row, each.gained)} of {_title(each.gained[0])} for {_amount(front, row, each.lost)} of "
        f"{_title(each.lost[0])}: {front['id'][each.row]}"
        for each in found
    ]


def parsed_weights(texts: str) -> dict[str, float]:
    """Return weights by name of `error=3,latency_ms=1`.

    Raises:
        InvalidInputError: If that is not what the text is, or a name stands twice.
    """
    found: dict[str, float] = {}
    for text in texts.split(","):
        name, equals, value = (part.strip() for part in text.partition("="))
        try:
            weight = float(value)
        except ValueError:
            weight = math.nan
        if not equals or not name or name in found or math.isnan(weight):
            raise InvalidInputError(f"--prefer takes each NAME=WEIGHT once, as error=3,latency_ms=1; got '{text.strip()}'")
        found[name] = weight
    return found


def _is_minimized(each: Exchange) -> bool:
    return all(Column.from_name(name).quantity.sign > 0 for name, _ in (each.gained, each.lost))


def _amount(front: pd.DataFrame, row: int, change: tuple[str, float]) -> str:
    """Return a change: points of what is measured in percent, otherwise percent of the network's own value."""
    name, amount = change
    metric, value = Column.from_name(name).quantity, abs(float(front[name][row]))
    if metric.unit == "%":
        return f"{amount:.{metric.digits}f} points"
    if value == 0:
        return metric.text(amount)
    return f"{100 * amount / value:.3g} %"


def _title(name: str) -> str:
    return Column.from_name(name).title
