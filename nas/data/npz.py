"""Data of one's own in an npz file."""

from pathlib import Path

import numpy as np

from nas.data.load import DATASETS, PathNeededError, Splits
from search_spaces.errors import DamagedFileError, HwnasError, InvalidInputError


@DATASETS.register("npz")
def read_npz(path: str | None) -> Splits:
    """Return the arrays x_train, y_train, x_test and y_test of a file."""
    if path is None:
        raise PathNeededError("the data set 'npz' needs a path to a file with x_train, y_train, x_test, y_test")
    names = ("x_train", "y_train", "x_test", "y_test")
    try:
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as content:
            if missing := [name for name in names if name not in content]:
                raise InvalidInputError(f"'{path}' lacks {missing}; it holds {list(content)}")
            x, y, x_test, y_test = (content[name] for name in names)
            if not all(isinstance(array, np.ndarray) for array in (x, y, x_test, y_test)):
                raise InvalidInputError(f"'{path}' holds something else than arrays; write it with numpy.savez")
    except (OSError, EOFError, ValueError, KeyError) as error:
        if isinstance(error, HwnasError):
            raise
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is no npz file or holds objects"
        raise InvalidInputError(f"cannot read '{path}' as npz: {reason}; write it with numpy.savez") from error
    except Exception as error:  # zipfile and zlib raise their own kinds for a damaged file
        raise DamagedFileError(f"'{path}' is damaged: {error}") from error
    return Splits(x=x, y=y, x_test=x_test, y_test=y_test, targets="")
