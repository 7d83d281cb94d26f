"""Plug-ins: files and packages of users that register what is their own."""

import hashlib
import importlib
import importlib.util
import logging
import sys
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from search_spaces.errors import InvalidInputError, users_code

GROUP = "hwnas"
"""Entry points of this group are loaded when names are looked up: a package of yours registers its parts by one."""

PREFIX = "hwnas_plugin_"  # of the names of modules that files become

logger = logging.getLogger(__name__)


def load_plugin(plugin: str) -> ModuleType:
    """Load a Python file, once however it is named and again when it has changed, or import a module.

    Args:
        plugin: `FILE.py`, or the dotted name of a module.

    Raises:
        InvalidInputError: If there is no such file or module, or it raises.
    """
    with users_code(f"the plug-in '{plugin}' cannot be loaded"):
        if plugin.endswith(".py"):
            file = Path(plugin).expanduser().resolve()
            if not file.is_file():
                raise InvalidInputError(f"there is no plug-in '{plugin}'")
            return _load_file(file, file.stat().st_mtime_ns)
        return importlib.import_module(plugin)


def absolute(name: str) -> str:
    """Return a plug-in, or `FILE.py:NAME`, with the file's absolute path; other names as they are."""
    file, colon, rest = name.partition(".py:")
    if not colon and not name.endswith(".py"):
        return name
    return f"{Path(f'{file}.py' if colon else name).expanduser().resolve()}{colon[3:]}{rest}"


def of_one_plugin(known: object, entry: object) -> bool:
    """Return whether two parts are of one file of a user's, which was mended and loaded again."""
    modules = {getattr(part, "__module__", None) or type(part).__module__ for part in (known, entry)}
    return len(modules) == 1 and modules.pop().startswith(PREFIX)


@cache
def _load_file(path: Path, changed_at: int) -> ModuleType:  # noqa: ARG001  a key of the cache
    name = f"{PREFIX}{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    main = sys.modules.get("__main__")
    if main is not None and getattr(main, "__file__", None) and Path(str(main.__file__)).resolve() == path:
        return main  # the program that runs is the plug-in: what it registers is known already
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@cache
def load_entry_points() -> None:
    """Load the plug-ins of installed packages, once; a broken one is a warning with its name."""
    for point in entry_points(group=GROUP):
        try:
            point.load()
        except Exception as error:  # whatever code of a package raises
            logger.warning("the plug-in '%s' is broken and left out: %s: %s", point.name, type(error).__name__, error)
