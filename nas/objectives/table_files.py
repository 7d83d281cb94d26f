"""Latency tables as files."""

from pathlib import Path

from latency_tables.table.table import LatencyTable
from nas.events.files import write_atomically
from search_spaces.errors import DamagedFileError, InvalidInputError


def read_table(path: Path) -> LatencyTable:
    """Read a latency table.

    Raises:
        InvalidInputError: If the file is missing.
        DamagedFileError: If it is damaged.
    """
    try:
        text = path.read_text()
    except UnicodeDecodeError as error:
        raise DamagedFileError(f"'{path}' is damaged ({error}); delete it and measure anew") from error
    except OSError as error:
        raise InvalidInputError(f"cannot read the latency table '{path}': {error}; make it with `hwnas measure`") from error
    return LatencyTable.from_json(text, str(path))


def write_table(table: LatencyTable, path: Path) -> None:
    """Write a latency table as JSON, and as CSV beside it.

    Raises:
        InvalidInputError: If it could not be read again; nothing is written then.
    """
    text = table.to_json()
    LatencyTable.from_json(text, str(path))
    write_atomically(path.with_suffix(".csv"), table.to_csv().encode())
    write_atomically(path, text.encode())
