"""Columns of a front that hold numbers, and rows by limits on them."""

from collections.abc import Mapping

import pandas as pd

from search_spaces.errors import InvalidInput

NUMBERS = ("error_val", "error_test", "latency_ms", "latency_spread", "latency_ms_predicted", "size_bytes", "macs")
ESTIMATED = ("estimated_ms", "estimated_mj")  # where the experiment has an accelerator


def numbers(table: pd.DataFrame) -> list[str]:
    """Return the columns that hold numbers of networks, not choices."""
    of_devices = [str(name) for name in table if "@" in str(name)]
    return [*(name for name in NUMBERS + ESTIMATED if name in table), *of_devices]


def select(table: pd.DataFrame, upper: Mapping[str, float], lower: Mapping[str, float]) -> pd.DataFrame:
    """Return the rows that keep every limit."""
    for name in [*upper, *lower]:
        if name not in numbers(table):
            known = ", ".join(numbers(table))
            raise InvalidInput(f"cannot limit '{name}'; the columns of numbers are {known}")
    for name, limit in upper.items():
        table = table[table[name] <= limit]
    for name, limit in lower.items():
        table = table[table[name] >= limit]
    return table.reset_index(drop=True)
