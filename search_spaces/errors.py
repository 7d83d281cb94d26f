"""The exceptions of hwnas, and a hint for their messages.

The message of each is one sentence: the rule, the value, and the way out. The command prints it alone and exits with the
kind's code; a traceback is shown only for faults of the program.
"""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import ClassVar


class HwnasError(Exception):
    """Whatever hwnas refuses or cannot do; catch this to catch all of it."""

    exit_code: ClassVar[int] = 2


class InvalidInputError(HwnasError, ValueError):
    """Something that the user gave is wrong."""


class NothingFoundError(InvalidInputError):
    """A query is understood and has no answer, such as a network within constraints."""

    exit_code = 1


class NotReadyError(HwnasError, RuntimeError):
    """Something that is needed is not there yet: a stage that comes before, a package, a lock that another one holds."""


class DamagedFileError(HwnasError, ValueError):
    """A file is not what was written, or cannot be read."""


class MeasurementError(HwnasError, RuntimeError):
    """Training or measuring failed; what was measured before is kept."""


class VerificationError(HwnasError, RuntimeError):
    """A result fails its check and was thrown away, such as a file that does not compute what was trained."""

    exit_code = 1


@contextmanager
def users_code(fault: str) -> Iterator[None]:
    """Run code of a user's: whatever it raises becomes an `InvalidInputError` that begins with `fault`; ours pass."""
    try:
        yield
    except HwnasError:
        raise
    except (Exception, SystemExit) as error:  # a user's file may end the program
        raise InvalidInputError(f"{fault}: {type(error).__name__}: {error}") from error


def check_whole(name: str, value: object, low: int, high: int) -> None:
    """Check that a value is a whole number between two others.

    Raises:
        InvalidInputError: If it is not.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidInputError(f"{name} must be a whole number, got {value!r:.80}")
    check_range(name, value, low, high)


def check_range(name: str, value: float, lower: float, upper: float) -> None:
    """Raise `InvalidInputError` if a setting is out of range."""
    if not lower <= value <= upper:
        raise InvalidInputError(f"{name} must be in {lower:g}..{upper:g}, got {value:g}")


def did_you_mean(name: str, known: Iterable[str], prefix: str = "") -> str:
    """Return ` (did you mean '...'?)` with the known name that is nearest behind a prefix, or nothing where none is near."""
    near = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean '{prefix}{near[0]}'?)" if near else ""


def first_line(error: BaseException) -> str:
    """Return the first line of what another library says is wrong, or the kind of its error where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
