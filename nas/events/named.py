"""Settings that name a registered part and give it options."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self


@dataclass(frozen=True, kw_only=True)
class Named:
    """A registered part and its options; its name alone stands for one without options."""

    shorthand: ClassVar[str] = "name"

    name: str
    """Of what is registered, or FILE.py:NAME."""
    options: dict[str, Any] = field(default_factory=dict)
    """Its own settings by name."""

    def with_names(self, renamed: Callable[[str], str]) -> Self:
        """Return the same with another name of everything that is named: the part, and options that are texts."""

        def change(value: Any) -> Any:
            if isinstance(value, list | tuple):
                return [change(inner) for inner in value]
            return renamed(value) if isinstance(value, str) else value

        return replace(self, name=renamed(self.name), options={key: change(value) for key, value in self.options.items()})

    @property
    def texts(self) -> list[str]:
        """The options that are texts, and those in lists."""
        listed = [value if isinstance(value, list | tuple) else [value] for value in self.options.values()]
        return [text for texts in listed for text in texts if isinstance(text, str)]
