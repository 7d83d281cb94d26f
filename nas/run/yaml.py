"""YAML to checked dataclasses, with messages of one sentence."""

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from search_spaces.errors import HwnasError, InvalidInputError, did_you_mean

MAX_LENGTH = 1000  # of a message, which quotes what was given
WORDS = {"int": "whole number", "float": "number", "str": "text"}  # of types, in messages


def read_yaml(path: Path, what: str) -> Any:
    """Read a YAML file, in which no key stands twice; `what` names its content in messages.

    Raises:
        InvalidInputError: If it cannot be read or is not YAML.
    """
    try:
        return yaml.load(path.read_text(), _UniqueKeys)  # a SafeLoader
    except OSError as error:
        raise InvalidInputError(f"cannot read the {what} '{path}': {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"'{path}' is not YAML: {' '.join(str(error).split())}") from error


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        if twice := next((key for key in keys if keys.count(key) > 1), None):
            raise yaml.YAMLError(f"the key '{twice}' stands twice")
        return super().construct_mapping(node, deep)


def build(kind: Any, content: Any, origin: str) -> Any:
    """Check plain values and build the dataclass `kind` of them, its sections first.

    A section is a field that is a dataclass or a mapping from names to one; its checks name a field without the section,
    which is put before. A plain value stands for the field that `kind.shorthand` names.

    Raises:
        InvalidInputError: If a key is unknown or has no value, a type is wrong, or a check fails.
    """
    if not isinstance(content, dict):
        name = kind.__name__.lower()
        a = f"an {name}" if name[0] in "aeiou" else f"a {name}"
        raise InvalidInputError(f"'{origin}' must hold keys and values of {a}, got {type(content).__name__}")
    try:
        return _build(kind, content, "")
    except HwnasError as error:
        raise InvalidInputError(f"'{origin}': {' '.join(str(error).split())}") from error


def _build(kind: Any, content: Any, prefix: str, **given: Any) -> Any:
    """Build a dataclass; `prefix` names its section in messages, `given` are fields that stand elsewhere."""
    if (shorthand := getattr(kind, "shorthand", "")) and isinstance(content, str):
        content = {shorthand: content}
    if not isinstance(content, dict):
        raise InvalidInputError(f"'{prefix.rstrip('.')}' must hold keys and values, got {content!r}")
    known, types = {f.name: f for f in fields(kind) if f.name not in given}, get_type_hints(kind)
    built: dict[str, Any] = {}
    for key, value in content.items():
        if key not in known:
            hint = did_you_mean(str(key), known, prefix)
            shown = repr(str(key))[1:-1]  # on one line
            raise InvalidInputError(f"unknown key '{prefix}{shown}'{hint}; known: {', '.join(known)}")
        if value is None and type(None) not in get_args(types[key]):
            raise InvalidInputError(f"the key '{prefix}{key}' has no value; give one or leave it out")
        if is_dataclass(types[key]):
            built[key] = _build(types[key], value, f"{prefix}{key}.")
        elif (inner := named(types[key])) is not None:
            if not isinstance(value, dict):
                raise InvalidInputError(f"'{prefix}{key}' must hold names with keys and values, got {value!r}")
            built[key] = {
                str(name): _build(inner, part or {}, f"{prefix}{key}.{name}.", label=str(name))
                for name, part in value.items()
            }
    plain = {key: value for key, value in content.items() if key not in built}
    parser = ArgumentParser(exit_on_error=False)
    sections = {name for name in known if is_dataclass(types[name]) or named(types[name]) is not None}
    parser.add_class_arguments(kind, "section", skip=sections | set(given))
    try:
        values = parser.parse_object({"section": plain})["section"].as_dict()
    except (ArgumentError, TypeError, ValueError, KeyError) as error:
        raise InvalidInputError(_first_sentence(error, prefix)) from error
    try:
        return kind(**{**values, **built, **given})
    except HwnasError as error:
        raise InvalidInputError(f"{prefix}{error}") from error


def named(hint: Any) -> Any:
    """Return the dataclass that a mapping from names holds, or None for other types."""
    arguments = get_args(hint)
    is_mapping = isinstance(get_origin(hint), type) and issubclass(get_origin(hint), Mapping)
    return arguments[1] if is_mapping and is_dataclass(arguments[1]) else None


def override(content: Any, change: str) -> None:
    """Change one value in a tree of plain values by `key=value`, with dots between levels: `--set`; null drops a limit."""
    key, equals, text = change.partition("=")
    if not equals or not isinstance(content, dict):
        raise InvalidInputError(f"--set takes KEY=VALUE, got '{change}'")
    # Names of limits may hold dots: they name devices of before.
    *levels, last = key.split(".", 2) if key.startswith(("search.max.", "search.min.")) else key.split(".")
    for level in levels:
        inner = content.setdefault(level, {})
        if level in ("strategy", "sampler") and isinstance(inner, str):
            inner = content[level] = {"name": inner}
        content = inner
        if not isinstance(content, dict):
            raise InvalidInputError(f"--set {key}: '{level}' holds no further keys")
    try:
        content[last] = yaml.safe_load(text)
        if content[last] is None and levels[1:] in (["max"], ["min"]):  # a limit is dropped
            del content[last]
    except yaml.YAMLError as error:
        raise InvalidInputError(f"--set {key}: {text!r} is not a YAML value") from error


def _first_sentence(error: BaseException, prefix: str) -> str:
    """Return jsonargparse's message in one line, in words that fit a YAML file."""
    text = " ".join(str(error).replace("section.", prefix).split())[:MAX_LENGTH]
    text = re.sub(r"<class '(\w+)'>", lambda match: WORDS.get(match[1], match[1]), text)
    text = text.replace("Expected a tuple.", "Expected a list, as [a, b].")
    return text.replace("Parser key", "the key").replace("the following arguments are required: ", "it lacks the key ")
