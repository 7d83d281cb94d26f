"""YAML to checked dataclasses, with messages of one sentence."""

import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from search_spaces.errors import InvalidInput, did_you_mean

WORDS = {"int": "whole number", "float": "number", "str": "text"}  # of types, in messages


def read_yaml(path: Path, what: str) -> Any:
    """Read a YAML file, in which no key stands twice; `what` names its content in messages.

    Raises:
        InvalidInput: If it cannot be read or is not YAML.
    """
    try:
        return yaml.load(path.read_text(), _UniqueKeys)  # a SafeLoader
    except OSError as error:
        raise InvalidInput(f"cannot read the {what} '{path}': {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidInput(f"'{path}' is not YAML: {' '.join(str(error).split())}") from error


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        if twice := next((key for key in keys if keys.count(key) > 1), None):
            raise yaml.YAMLError(f"the key '{twice}' stands twice")
        return super().construct_mapping(node, deep)


def build(kind: Any, content: Any, origin: str) -> Any:
    """Check plain values and build the dataclass `kind` of them."""
    what = kind.__name__.removesuffix("Config").lower()
    if not isinstance(content, dict):
        a = "an experiment" if what == "experiment" else f"a {what}"
        raise InvalidInput(f"'{origin}' must hold keys and values of {a}, got {type(content).__name__}")
    _check_keys(content, kind, "", origin)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, what)
    try:
        return parser.instantiate(parser.parse_object({what: content}))[what]
    except InvalidInput as error:
        raise InvalidInput(f"'{origin}': {' '.join(str(error).split())}") from error
    except (ArgumentError, TypeError, ValueError, KeyError) as error:
        raise InvalidInput(f"'{origin}': {_first_sentence(error, what)}") from error


def _check_keys(content: dict[str, Any], kind: Any, prefix: str, origin: str) -> None:
    """Raise `InvalidInput` for a key that `kind`, a dataclass, does not have, or a section that holds no keys."""
    known = {f.name: f.default_factory for f in fields(kind)}
    for key, value in content.items():
        if key not in known:
            hint = did_you_mean(str(key), known, prefix)
            shown = repr(str(key))[1:-1]  # on one line
            raise InvalidInput(f"'{origin}': unknown key '{prefix}{shown}'{hint}; known: {', '.join(known)}")
        if value is None and key != "path":
            raise InvalidInput(f"'{origin}': the key '{prefix}{key}' has no value; give one or leave it out")
        if is_dataclass(known[key]):
            if not isinstance(value, dict):
                raise InvalidInput(f"'{origin}': '{prefix}{key}' must hold keys and values, got {value!r}")
            _check_keys(value, known[key], f"{prefix}{key}.", origin)


def override(content: Any, change: str) -> None:
    """Change one value in a tree of plain values by `key=value`, with dots between levels: `--set`; null drops a limit."""
    key, equals, text = change.partition("=")
    if not equals or not isinstance(content, dict):
        raise InvalidInput(f"--set takes KEY=VALUE, got '{change}'")
    # Names of limits may hold dots: they name devices.
    *levels, last = key.split(".", 2) if key.startswith(("search.max.", "search.min.")) else key.split(".")
    for level in levels:
        content = content.setdefault(level, {})
        if not isinstance(content, dict):
            raise InvalidInput(f"--set {key}: '{level}' holds no further keys")
    try:
        content[last] = yaml.safe_load(text)
        if content[last] is None and levels[1:] in (["max"], ["min"]):  # a limit is dropped
            del content[last]
    except yaml.YAMLError as error:
        raise InvalidInput(f"--set {key}: {text!r} is not a YAML value") from error


def _first_sentence(error: BaseException, what: str) -> str:
    """Return jsonargparse's message in one line, in words that fit a YAML file."""
    text = " ".join(str(error).replace(f"{what}.", "").split())
    text = re.sub(r"<class '(\w+)'>", lambda match: WORDS.get(match[1], match[1]), text)
    text = text.replace("Expected a tuple.", "Expected a list, as [a, b].")
    return text.replace("Parser key", "the key").replace("the following arguments are required: ", "it lacks the key ")
