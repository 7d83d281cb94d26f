"""The verb `adopt`: from its options to an experiment, and what it prints on the way."""

import argparse
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces.errors import InvalidInputError

if TYPE_CHECKING:
    from nas.run.adoption import Adoption
    from nas.run.run import Run


def adopt(options: argparse.Namespace) -> int:
    """Adopt a model: read, measure, repair, price, search, print the front, export its knee."""
    from nas.report.results import exported_lines
    from nas.report.table import print_front

    if options.text:
        raise InvalidInputError(
            f"'{options.model}' is no language model (a .gguf file, a folder with config.json): leave out --text"
        )
    run = _open(options)
    with run.folder.locked():
        run.check_constraints()
        print(*run.read(), sep="\n")
        run.measure()
        run.search()
        print_front(run.front(), run.baselines())
        chosen = run.floor_id()
        if not (run.folder.export_path(chosen) / "parity.json").exists():
            print(*exported_lines(run.export(chosen)), sep="\n")
        print(f"report: {run.report()}")
    return 0


def adopt_text(options: argparse.Namespace) -> "Run":
    """Return the run of a language model that a command names.

    Raises:
        InvalidInputError: If an option is for other models, or something cannot be read.
    """
    from nas.run.adopt_language import adopt_language_model
    from nas.run.run import Run
    from nas.run.tables import named_device

    given = ("samples", "shape", "preset", "mean", "std", "resize", "layout", "accept_opaque")
    if named := [f"--{name.replace('_', '-')}" for name in given if getattr(options, name)]:
        raise InvalidInputError(f"'{options.model}' is a language model: {', '.join(named)} go with other models")
    settings: dict[str, Any] = {}
    if options.device:
        device = named_device(options.device)
        settings["devices"] = {device.name: {key: value for key, value in asdict(device).items() if key != "label"}}
    formats = [text for text in options.formats if "=" not in text]
    if formats:
        settings["formats"] = [name for text in formats for name in text.split(",")]
    overrides = _overrides(options)
    if (Path(options.model) / "experiment.yaml").is_file():
        return Run.open(options.model, overrides=overrides)
    return adopt_language_model(options.model, options.text or "pydoc", options.out, overrides=overrides, **settings)


def _overrides(options: argparse.Namespace) -> list[str]:
    """Return what a command sets and limits, as keys of an experiment."""
    return [*options.set, *(f"search.{key}.{text}" for key in ("max", "min") for text in getattr(options, key))]


def _open(options: argparse.Namespace) -> "Adoption":
    from nas.run.adoption import Adoption

    if Path(options.model).is_dir():
        given = (
            "samples",
            "out",
            "shape",
            "formats",
            "device",
            "preset",
            "mean",
            "std",
            "resize",
            "layout",
            "accept_opaque",
        )
        if named := [f"--{name.replace('_', '-')}" for name in given if getattr(options, name)]:
            raise InvalidInputError(f"'{options.model}' is a run folder: {', '.join(named)} go with a model")
        if not (Path(options.model) / "experiment.yaml").is_file():
            raise InvalidInputError(f"'{options.model}' is a folder, neither a run nor a language model (config.json)")
        return Adoption.open(options.model, overrides=_overrides(options))
    name = re.sub(r"[^\w.-]", "-", Path(options.model.partition(".py:")[0]).stem) or "model"
    return Adoption.create(experiment_of(options, name), options.out, overrides=options.set)


def experiment_of(options: argparse.Namespace, name: str) -> dict[str, Any]:
    """Return the experiment that options of the verb stand for.

    Raises:
        InvalidInputError: If one cannot be read.
    """
    from nas.ptq.doors import absolute_source
    from nas.ptq.settings import FLOORS
    from nas.run.adopt import ADOPTED_SEARCH, ADOPTED_TABLE
    from nas.run.tables import named_device

    limits = {key: _numbers(getattr(options, key), f"--{key}") for key in ("max", "min")}
    floor = {key: limits["max"].pop(key) for key in FLOORS if key in limits["max"]}
    device = named_device(options.device)
    settings = {key: value for key, value in asdict(device).items() if key != "label"}
    content: dict[str, Any] = {
        "name": name,
        "adopt": {
            "model": absolute_source(options.model),
            "samples": absolute_source(options.samples),
            "shapes": {key: _shape(value) for key, value in _pairs(options.shape, "--shape")},
            "formats": {key: value.split(",") for key, value in _pairs(options.formats, "--formats")},
            "pictures": _pictures(options),
            "floor": floor,
            "accept_opaque": options.accept_opaque,
        },
        "devices": {device.name: settings},
        "table": ADOPTED_TABLE,
        "search": {**ADOPTED_SEARCH, **limits},
    }
    return content


def _pictures(options: argparse.Namespace) -> dict[str, Any]:
    from nas.data.samples import Pictures
    from nas.ptq.settings import preset

    chosen = preset(options.preset) if options.preset else Pictures()
    own: dict[str, Any] = {
        key: _floats(getattr(options, key), f"--{key}") for key in ("mean", "std") if getattr(options, key)
    }
    own |= {key: getattr(options, key) for key in ("resize", "layout") if getattr(options, key)}
    found = asdict(replace(chosen, **own))
    return {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()}


def _pairs(texts: list[str], option: str) -> list[tuple[str, str]]:
    found = []
    for text in texts:
        name, equals, value = text.rpartition("=")
        if not equals or not name or not value:
            raise InvalidInputError(f"{option} takes NAME=VALUE, got '{text}'")
        found.append((name, value))
    return found


def _numbers(texts: list[str], option: str) -> dict[str, float]:
    found = {name: _floats(value, option) for name, value in _pairs(texts, option)}
    if several := [name for name, values in found.items() if len(values) > 1]:
        raise InvalidInputError(f"{option} takes one number for each name, got several for {several}")
    return {name: values[0] for name, values in found.items()}


def _floats(text: str, option: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise InvalidInputError(f"{option} takes numbers, got '{text}'") from error


def _shape(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise InvalidInputError(f"--shape takes whole numbers, as x=1,3,224,224; got '{text}'") from error
