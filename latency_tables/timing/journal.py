"""Journal: timings on disk as they are made, so that an interrupted measurement goes on and loses at most one."""

import json
from collections.abc import Mapping
from pathlib import Path

from latency_tables.timing.protocol import KnownTimings, Timing
from search_spaces.errors import InvalidInputError


class Journal:
    """A file of JSON lines: a heading, then a line for each timing.

    What is there is kept if its heading agrees, up to a torn or damaged line; otherwise the journal begins anew.

    Args:
        path: The file; None keeps nothing.
        heading: What the timings depend on.

    Raises:
        InvalidInputError: If the file cannot be read or written.
    """

    def __init__(self, path: Path | None, heading: Mapping[str, object]) -> None:
        self.path = path
        self.known: KnownTimings = {}
        if path is None:
            return
        try:
            if path.exists():
                self.known = _read(path.read_text(errors="replace"), heading)
            # Written anew, so that what comes next does not stand behind a torn line.
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join([json.dumps(heading), *map(_line, self.known.items())]) + "\n")
        except OSError as error:
            raise InvalidInputError(
                f"cannot use the journal '{path}': {error.strerror}; remove it to measure anew"
            ) from error

    def add(self, found: KnownTimings) -> None:
        """Append timings."""
        if self.path is not None:
            with self.path.open("a") as file:
                file.writelines(_line(item) + "\n" for item in found.items())

    def remove(self) -> None:
        """Delete the file: everything is measured and kept elsewhere."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def _read(text: str, heading: Mapping[str, object]) -> KnownTimings:
    known: KnownTimings = {}
    first, *lines = text.splitlines() or [""]
    if first != json.dumps(heading):
        return known
    for line in lines:
        try:
            name, round_, units, is_clean, reference_ms = json.loads(line)
            if not (0 < float(units) < float("inf") and 0 < float(reference_ms) < float("inf")):
                break
            known[str(name), int(round_)] = Timing(float(units), bool(is_clean), float(reference_ms))
        except (ValueError, TypeError):
            break
    return known


def _line(item: tuple[tuple[str, int], Timing]) -> str:
    key, timing = item
    return json.dumps([*key, timing.units, timing.is_clean, timing.reference_ms])
