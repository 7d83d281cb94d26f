"""Write docs/experiment.md from the help text of the configuration.

python docs/write_experiment_keys.py
"""

import ast
import inspect
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from nas.run.experiment import Experiment

TARGET = Path(__file__).with_name("experiment.md")


def describe(kind: type) -> dict[str, str]:
    """Return the help of each field: the string that stands under it in the source."""
    (body,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(body, ast.ClassDef)
    help_of = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            assert isinstance(field.target, ast.Name)
            help_of[field.target.id] = str(text.value.value)
    return help_of


def rows(kind: Any, prefix: str = "") -> list[str]:
    """Return the rows of a table of keys, sections below the keys of their parent."""
    help_of, lines, sections = describe(kind), [], []
    for field in fields(kind):
        factory: Any = field.default_factory
        if is_dataclass(factory):
            sections += rows(factory, f"{prefix}{field.name}.")
            continue
        default: Any = factory() if callable(factory) else field.default
        shown = "required" if repr(default).startswith("<dataclasses._MISSING") else f"`{default}`"
        lines.append(f"| `{prefix}{field.name}` | {shown} | {help_of[field.name]} |")
    return lines + sections


def text() -> str:
    """Return the whole page."""
    head = "# Keys of an experiment\n\n"
    head += "An unknown key is an error. Made from `nas/run/experiment.py` by `docs/write_experiment_keys.py`.\n"
    return head + "\n| key | default | meaning |\n| --- | --- | --- |\n" + "\n".join(rows(Experiment)) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text())
