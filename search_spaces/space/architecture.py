"""Architecture: one point of a search space, as people and files name it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from search_spaces.errors import InvalidInput
from search_spaces.space.choice import Option


@dataclass(frozen=True)
class Architecture:
    """The options chosen for every active choice of a space; equal networks compare equal.

    Attributes:
        space: Name of the search space.
        values: Pairs of choice name and option in the order of the space's choices, inactive choices left out.
            `SearchSpace.architecture` makes them so; write them by hand only through `from_json`.
    """

    space: str
    values: tuple[tuple[str, Option], ...]

    @property
    def options(self) -> Mapping[str, Option]:
        """The same as `values`, as a mapping."""
        return dict(self.values)

    @property
    def id(self) -> str:
        """Ten hexadecimal digits that depend on nothing but the content: the same in every process and version."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:10]

    def to_json(self) -> str:
        """Return one line of JSON, the same for equal architectures."""
        return json.dumps({"space": self.space, "values": dict(self.values)}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Architecture":
        """Read what `to_json` wrote.

        Raises:
            InvalidInput: If the text is not such an object. Whether the options exist is checked by the space.
        """
        try:
            content = json.loads(text)
            return cls(space=str(content["space"]), values=tuple(content["values"].items()))
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise InvalidInput(
                f'an architecture is JSON of the form {{"space": NAME, "values": {{CHOICE: OPTION}}}}, got {text[:80]!r}'
            ) from error
