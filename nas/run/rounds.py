"""Files of a run's rounds: what was gained, and what the space was narrowed to."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nas.events.files import write_atomically
from nas.search.rounds import Round
from search_spaces.errors import DamagedFileError
from search_spaces.space.narrowing import NarrowedSpace
from search_spaces.space.space import SearchSpace


class RoundsFile:
    """The rounds that are done, in a run folder.

    Args:
        path: The run folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path / "rounds.json"

    def read(self) -> list[Round]:
        """Return the rounds that are done.

        Raises:
            DamagedFileError: If the file is damaged.
        """
        if not self.path.exists():
            return []
        try:
            rounds = [Round(**{**row, **_tuples(row)}) for row in json.loads(self.path.read_text())]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise DamagedFileError(
                f"'{self.path}' is damaged; delete it, and `hwnas specialise` goes on from the rounds' folders"
            ) from error
        return rounds

    def write(self, rounds: Sequence[Round]) -> None:
        """Keep the rounds that are done."""
        write_atomically(self.path, json.dumps([asdict(each) for each in rounds], indent=1).encode())

    @property
    def current(self) -> int:
        """The last round that was kept; 0 where there is none."""
        return max((each.number for each in self.read() if each.pays), default=0)


def _tuples(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "drops": tuple((str(name), float(cost)) for name, cost in row["drops"]),
        "lost": tuple(row["lost"]),
        "gone": tuple(row["gone"]),
    }


@dataclass(frozen=True)
class PartFile:
    """The part of a space that a round trains, in its folder; where there is no file it trains the whole space.

    Attributes:
        path: The file.
    """

    path: Path

    def write(self, content: dict[str, Any]) -> None:
        """Keep `kept`, `ties` and `drops` of a `nas.search.narrowing.Part`, and the `size` that was asked for."""
        write_atomically(self.path, json.dumps(content, indent=1).encode())

    def read(self) -> dict[str, Any]:
        """Return what `write` was given; empty where there is no file.

        Raises:
            DamagedFileError: If it is damaged.
        """
        if not self.path.exists():
            return {}
        try:
            content: dict[str, Any] = dict(json.loads(self.path.read_text()))
            _ = content["kept"], content["ties"], content["drops"], content["size"]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise DamagedFileError(f"'{self.path}' is damaged; delete the folder of its round to train it anew") from error
        return content

    def of(self, space: SearchSpace) -> SearchSpace:
        """Return the part of a space, or the whole space."""
        content = self.read()
        return NarrowedSpace(space, content["kept"], content["ties"]) if content else space
