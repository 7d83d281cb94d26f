"""Write docs/experiment.md from the help text of the configuration.

python docs/write_experiment_keys.py
"""

import ast
import inspect
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from nas.run.experiment import Experiment
from nas.run.yaml import named

TARGET = Path(__file__).with_name("experiment.md")


def describe(kind: type) -> dict[str, str]:
    """Return the help of each field: the string that stands under it in the source of the class or of one it extends."""
    help_of: dict[str, str] = {}
    for base in (base for base in reversed(kind.__mro__) if is_dataclass(base)):
        (body,) = ast.parse(inspect.getsource(base)).body
        assert isinstance(body, ast.ClassDef)
        for field, text in zip(body.body, body.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                assert isinstance(field.target, ast.Name)
                help_of[field.target.id] = " ".join(str(text.value.value).split())
    return help_of


def rows(kind: Any, prefix: str = "") -> list[str]:
    """Return the rows of a table of keys, sections below the keys of their parent."""
    help_of, types, lines, sections = describe(kind), get_type_hints(kind), [], []
    for field in fields(kind):
        name, hint = f"{prefix}{field.name}", types[field.name]
        if is_dataclass(hint):
            sections += rows(hint, f"{name}.")
            if not getattr(hint, "shorthand", ""):
                continue
        if (inner := named(hint)) is not None:
            sections += [row for row in rows(inner, f"{name}.NAME.") if ".label`" not in row]
        default: Any = field.default_factory() if callable(field.default_factory) else field.default
        if getattr(hint, "shorthand", ""):
            default = getattr(default, hint.shorthand)
        shown = "required" if default is MISSING else f"`{default}`"
        shown = "this machine's onnxruntime, 1 thread" if inner is not None else shown
        lines.append(f"| `{name}` | {shown} | {help_of[field.name]} |")
    return lines + sections


def text() -> str:
    """Return the whole page."""
    head = "# Keys of an experiment\n\n"
    head += "An unknown key is an error. Made by `docs/write_experiment_keys.py` from `nas/run/experiment.py`, "
    head += "and what that is composed of.\n"
    return head + "\n| key | default | meaning |\n| --- | --- | --- |\n" + "\n".join(rows(Experiment)) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text())
