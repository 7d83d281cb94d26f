"""Registry: names for plain functions and classes, used for spaces, operators, predictors and runtimes."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from search_spaces.errors import InvalidInputError, did_you_mean
from search_spaces.plugins import load_entry_points, load_plugin, of_one_plugin

T = TypeVar("T")


class Registry(Generic[T]):
    """Maps a name to what it stands for; a duplicate name is a fault, an unknown one suggests the nearest.

    Args:
        kind: What the entries are, in the singular, for messages: `search space`.
        note: How entries of users come in, for the message on an unknown one.
    """

    def __init__(self, kind: str, note: str = "") -> None:
        self.kind, self.note = kind, note
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that enters its argument under `name` and gives it back unchanged."""

        def enter(entry: T) -> T:
            if name in self._entries and not of_one_plugin(self._entries[name], entry):
                raise ValueError(f"{self.kind} '{name}' is registered twice")
            self._entries[name] = entry
            return entry

        return enter

    def get(self, name: str) -> T:
        """Return the entry called `name`.

        `FILE.py:NAME` loads a file of a user's first; the entry points of installed packages are loaded before anything is
        called unknown.

        Raises:
            InvalidInputError: If there is none; the message lists what is known.
        """
        file, py, own = name.partition(".py:")
        if py:
            load_plugin(f"{file}.py")
            name = own
        if name not in self._entries:
            load_entry_points()
        if name in self._entries:
            return self._entries[name]
        known = "; ".join(filter(None, (f"known: {', '.join(sorted(self._entries))}", self.note)))
        raise InvalidInputError(f"unknown {self.kind} '{name}'{did_you_mean(name, self._entries)}; {known}")

    def build(self, name: str, options: Mapping[str, Any] | None = None) -> Any:
        """Return what the entry called `name`, a class or function, makes of options by name.

        Raises:
            InvalidInputError: If the entry or one of its options is unknown, or an option is refused.
        """
        build, options = self.get(name), dict(options or {})
        assert callable(build)
        known = inspect.signature(build).parameters
        if unknown := sorted(set(options) - set(known)):
            hint, listed = did_you_mean(unknown[0], known), ", ".join(known) or "none"
            raise InvalidInputError(f"{self.kind} '{name}' has no option '{unknown[0]}'{hint}; it has {listed}")
        try:
            return build(**options)
        except TypeError as error:
            raise InvalidInputError(f"{self.kind} '{name}' refuses its options {options}: {error}") from error

    @property
    def names(self) -> tuple[str, ...]:
        """The names in the order in which they were registered."""
        load_entry_points()
        return tuple(self._entries)

    def __iter__(self) -> Iterator[str]:
        load_entry_points()
        return iter(sorted(self._entries))
