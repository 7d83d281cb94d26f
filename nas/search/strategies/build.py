"""A strategy by its name and options."""

import inspect
from collections.abc import Mapping
from typing import Any

from nas.search.strategies.strategy import STRATEGIES, Strategy
from search_spaces.errors import InvalidInputError, did_you_mean


def build_strategy(name: str, options: Mapping[str, Any] | None = None) -> Strategy:
    """Return a new strategy of a name, with its options.

    Raises:
        InvalidInputError: If the strategy or one of its options is unknown, or an option is refused.
    """
    build, options = STRATEGIES.get(name), dict(options or {})
    known = inspect.signature(build).parameters
    if unknown := sorted(set(options) - set(known)):
        hint = did_you_mean(unknown[0], known)
        raise InvalidInputError(f"strategy '{name}' has no option '{unknown[0]}'{hint}; it has {', '.join(known) or 'none'}")
    try:
        return build(**options)
    except TypeError as error:
        raise InvalidInputError(f"strategy '{name}' refuses its options {options}: {error}") from error
