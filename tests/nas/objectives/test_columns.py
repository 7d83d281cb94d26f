import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.objectives.columns import LATENCY, METRICS, Column, number_columns, numbers

WORDS = st.text("abcxyz", min_size=1, max_size=5)


ERROR, TEST_ERROR = Column("error", "val"), Column("error", "test")


@pytest.mark.parametrize(
    ("name", "column", "label"),
    [
        ("error_val", ERROR, "validation error"),
        ("error_test", TEST_ERROR, "test error"),
        ("latency_ms", LATENCY, "latency"),
        ("latency_spread", LATENCY.spread, "spread of the latency"),
        ("latency_ms_predicted", LATENCY.predicted, "predicted latency"),
        ("latency_spread@a.b-1", Column("latency_ms", device="a.b-1", is_spread=True), "spread of the latency on a.b-1"),
        ("latency_ms_predicted@pi", Column("latency_ms", device="pi", is_predicted=True), "predicted latency on pi"),
        ("size_bytes", Column("size_bytes"), "packed weights"),
        ("estimated_mj", Column("estimated_mj"), "estimated energy"),
    ],
)
def test_names_of_files_are_taken_apart_and_made_again(name, column, label):
    assert Column.from_name(name) == column
    assert column.name == name
    assert column.title == label


@given(WORDS, st.sampled_from(["", "val", "test"]), WORDS | st.just(""), st.booleans())
def test_any_column_survives_its_name(metric, split, device, is_predicted):
    column = Column(metric, split, device, is_predicted)
    assert Column.from_name(column.name) == column


def test_objectives_of_an_experiment_are_measured_columns():
    of_data = {name for name, metric in METRICS.items() if metric.of_data}
    assert {"error", "rmse"} <= of_data
    for name in METRICS:
        assert Column.of_objective(name).name == (f"{name}_val" if name in of_data else name)


def test_choices_are_no_numbers():
    table = pd.DataFrame(columns=["id", "stage1/width", "depth", "macs", "latency_ms@pi", "latency_ms", "error_val", "tied"])
    assert numbers(table) == ["error_val", "latency_ms", "macs", "latency_ms@pi"]
    assert number_columns(table)[0] == ERROR
