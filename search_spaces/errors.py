"""The exceptions whose message is all that a user of the command line sees, and a hint for such messages."""

import difflib
from collections.abc import Iterable


class InvalidInput(ValueError):
    """Something the user gave is wrong: the message names the rule, the value and the way out.

    The command line prints the message alone and exits with code 2; a traceback is shown only for faults of the program.
    """


class NothingFound(InvalidInput):
    """Raised where a query is understood and has no answer, such as a network within constraints; exit code 1."""


class CheckFailed(Exception):
    """Raised where a result fails its check and was thrown away; exit code 1."""


def check_range(name: str, value: float, lower: float, upper: float) -> None:
    """Raise `InvalidInput` if a setting is out of range."""
    if not lower <= value <= upper:
        raise InvalidInput(f"{name} must be in {lower:g}..{upper:g}, got {value:g}")


def did_you_mean(name: str, known: Iterable[str], prefix: str = "") -> str:
    """Return ` (did you mean '...'?)` with the known name that is nearest behind a prefix, or nothing where none is near."""
    near = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean '{prefix}{near[0]}'?)" if near else ""
