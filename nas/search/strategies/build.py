"""A strategy of settings."""

import inspect
from typing import Any

from nas.search.settings import SearchSettings
from nas.search.strategies.strategy import STRATEGIES, Strategy
from search_spaces.errors import InvalidInputError, did_you_mean


def build_strategy(settings: SearchSettings) -> Strategy:
    """Return the strategy that settings name, with its options.

    Raises:
        InvalidInputError: If the strategy or one of its options is unknown, or an option is refused.
    """
    name, given = settings.strategy.name, settings.strategy.options
    build = STRATEGIES.get(name)
    known = inspect.signature(build).parameters
    if unknown := sorted(set(given) - set(known)):
        hint = did_you_mean(unknown[0], known)
        raise InvalidInputError(f"strategy '{name}' has no option '{unknown[0]}'{hint}; it has {', '.join(known) or 'none'}")
    general = {"predictors": settings.predictors, "tuning_trials": settings.tuning_trials}
    options: dict[str, Any] = {key: value for key, value in general.items() if key in known} | given
    try:
        return build(**options)
    except TypeError as error:
        raise InvalidInputError(f"strategy '{name}' refuses its options {options}: {error}") from error
