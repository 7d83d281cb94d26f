"""A strategy by its name and options."""

from collections.abc import Mapping
from typing import Any

from nas.search.strategies.strategy import STRATEGIES, Strategy


def build_strategy(name: str, options: Mapping[str, Any] | None = None) -> Strategy:
    """Return a new strategy of a name, with its options.

    Raises:
        InvalidInputError: If the strategy or one of its options is unknown, or an option is refused.
    """
    strategy: Strategy = STRATEGIES.build(name, options)
    return strategy
