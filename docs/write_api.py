"""Write docs/api.md from docstrings: what a notebook or a program may call.

python docs/write_api.py
"""

import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import nas

TARGET = Path(__file__).with_name("api.md")
SECTIONS = {
    "nas": ("What most programs need", nas.__all__),
    "nas.search": ("Search", import_module("nas.search").__all__),
    "nas.search.study": ("What a search finds", ["SearchResult"]),
    "nas.search.measurements": ("What was measured", ["Measurements"]),
    "nas.tasks": ("Tasks and metrics", ["Task", "Metric", "TASKS", "METRICS"]),
    "nas.data": ("Data", import_module("nas.data").__all__),
    "nas.events.progress": ("Progress", ["Progress", "show_progress"]),
    "nas.testing": ("Contract tests", import_module("nas.testing").__all__),
    "search_spaces": ("Search spaces", import_module("search_spaces").__all__),
    "search_spaces.errors": (
        "Errors",
        ["HwnasError", "InvalidInputError", "NotReadyError", "DamagedFileError", "MeasurementError", "VerificationError"],
    ),
    "predictors": ("Predictors", import_module("predictors").__all__),
}


def text() -> str:
    """Return the whole page."""
    lines = ["# API", "", "Made by `docs/write_api.py` from docstrings."]
    told: set[int] = set()
    for module, (title, names) in SECTIONS.items():
        lines += ["", f"## {title}: `{module}`"]
        for name in names:
            value = getattr(import_module(module), name)
            if id(value) in told:
                continue
            told.add(id(value))
            lines += entry(name, value)
    return "\n".join(lines) + "\n"


def entry(name: str, value: Any) -> list[str]:
    """Return the lines of one name: signature, docstring, public methods."""
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        return ["", f"### `{name}`", "", f"A `{type(value).__name__}`."]
    lines = ["", f"### `{name}{signature(value)}`", "", *doc(value)]
    if inspect.isclass(value) and not issubclass(value, Exception):
        for part, member in vars(value).items():
            function = getattr(member, "__func__", getattr(member, "fget", getattr(member, "func", member)))
            if not part.startswith("_") and inspect.isfunction(function):
                call = "" if function is not member and not isinstance(member, classmethod) else signature(function)
                lines += ["", f"**`{part}{call}`**", "", *doc(function)]
    return lines


def signature(value: Any) -> str:
    """Return the names of arguments and their defaults, without types."""
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return ""
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in parameters if p.name not in ("self", "cls")]
    shown = ", ".join(str(p) for p in plain)
    return f"({re.sub(r'<function <lambda> at 0x[0-9a-f]+>|<factory>|<function[^>]*>', '...', shown)})"


def doc(value: Any) -> list[str]:
    """Return a docstring as Markdown: what has sections keeps its lines."""
    found = inspect.getdoc(value) or ""
    first, _, rest = found.partition("\n\n")
    return [first.replace("\n", " "), *(["", "```text", rest, "```"] if rest else [])]


if __name__ == "__main__":
    TARGET.write_text(text())
