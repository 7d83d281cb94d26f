import numpy as np
import pandas as pd
import pytest

from nas.report.recommended import parsed_weights, recommendation_lines, recommended
from nas.search.recommendation import exchanges, recommend
from search_spaces import InvalidInputError

FRONT = np.array([[1.0, 10.0], [2.0, 6.0], [3.0, 3.0], [6.0, 2.0], [10.0, 1.0]])
NAMES = ("error_val", "latency_ms")


def named(a, b):
    return recommend(FRONT, NAMES, {"error_val": a, "latency_ms": b}).row


def test_weights_name_what_they_say():
    assert named(1, 1) == 2
    assert named(1, 0) == 0
    assert named(0, 1) == 4
    assert named(20, 1) <= 1
    assert named(2, 2) == named(1, 1)


def test_the_interval_is_where_the_answer_stays(rng):
    for _ in range(20):
        points = np.sort(rng.uniform(size=(8, 3)), axis=0)
        points[:, 1] = points[::-1, 1]
        names, weights = ("a", "b", "c"), dict(zip("abc", rng.uniform(0.1, 3, 3), strict=True))
        found = recommend(points, names, weights)
        for name, (low, high) in found.intervals.items():
            assert low <= weights[name] <= high
            inside = rng.uniform(low, min(high, 50), 5)
            assert {recommend(points, names, {**weights, name: w}).row for w in inside} == {found.row}
            outside = [w for w in (low * 0.98, high * 1.02) if 0 < w < np.inf and not low <= w <= high]
            assert all(recommend(points, names, {**weights, name: w}).row != found.row for w in outside)


def test_equals_are_told():
    twice = np.vstack([FRONT, FRONT[2]])
    assert recommend(twice, NAMES, {"error_val": 1, "latency_ms": 1}).equals == (5,)


def test_bad_weights_are_named():
    with pytest.raises(InvalidInputError, match="weights are of objectives, which are error_val, latency_ms; got 'size'"):
        recommend(FRONT, NAMES, {"size": 1})
    with pytest.raises(InvalidInputError, match="0 or more and finite"):
        recommend(FRONT, NAMES, {"error_val": -1})
    with pytest.raises(InvalidInputError, match="at least one weight"):
        recommend(FRONT, NAMES, {"error_val": 0})
    for text in ("error", "error=x", "error=1,error=2", "=1"):
        with pytest.raises(InvalidInputError, match="--prefer takes each NAME=WEIGHT once"):
            parsed_weights(text)


def test_exchanges_are_the_cheapest_ones():
    found = exchanges(FRONT, NAMES, 2)
    assert [(each.row, each.gained, each.lost) for each in found] == [
        (3, ("latency_ms", 1.0), ("error_val", 3.0)),
        (1, ("error_val", 1.0), ("latency_ms", 3.0)),
    ]


def test_words_name_points_and_percent():
    front = pd.DataFrame(FRONT, columns=list(NAMES)).assign(id=list("vwxyz"))
    found = recommended(front, NAMES, {"error": 1, "latency_ms": 1})
    assert recommendation_lines(front, NAMES, found) == [
        "x is recommended by the weights validation error 1, latency 1",
        *[line for line in recommendation_lines(front, NAMES, found) if line.startswith("it stays")],
        "3.00 points more validation error for 33.3 % less latency: y",
        "100 % more latency for 1.00 points less validation error: w",
    ]
