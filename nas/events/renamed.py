"""Names that were given up, and today's: the old ones are read for one release, with a warning that names the new."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from latency_tables.device import default_name
from search_spaces.errors import InvalidInputError

logger = logging.getLogger(__name__)

KEYS = {  # of experiments and devices, by section
    "training": {
        "lower_bits": "progressive_bits",
        "shrink_after": "shrink_start",
        "start_from": "init_from",
        "shift_pixels": "random_translate",
    },
    "device": {"elsewhere": "remote"},
    "table": {"greatest_minutes": "time_budget_minutes", "patience": "retry_budget"},
}
COLUMNS = {"modelled_ms": "estimated_ms", "modelled_mj": "estimated_mj"}  # of fronts; they are objectives, too
TENSORS = {"log_steps": "log_scales", "step_is_set": "scale_is_set"}  # of trained supernets


def renamed_keys(section: str, content: Any, origin: str) -> Any:
    """Return the content of a section of an experiment under today's keys.

    Args:
        section: A key of `KEYS`.
        content: Plain values; anything but a mapping is returned as it is.
        origin: Name of the file, for the warning.
    """
    return _renamed(content, KEYS[section], origin, f"{section}.") if isinstance(content, Mapping) else content


def renamed_experiment(content: Any, origin: str) -> Any:
    """Return the plain values of an experiment under today's keys and objectives; `origin` names the file."""
    if not isinstance(content, Mapping):
        return content
    found = {key: renamed_keys(key, value, origin) if key in KEYS else value for key, value in content.items()}
    found = _named_devices(found, origin)
    if isinstance(search := found.get("search"), Mapping):
        found["search"] = dict(search)
        for key in ("max", "min"):
            if isinstance(search.get(key), Mapping):
                found["search"][key] = _renamed(search[key], COLUMNS, origin, f"search.{key}.")
        _move_to_strategy(found["search"], origin)
        if isinstance(names := search.get("objectives"), list):
            found["search"]["objectives"] = renamed_columns(names, f"'{origin}': search.objectives: ")
    return found


def _move_to_strategy(search: dict[str, Any], origin: str) -> None:
    """Move what were keys of a search and are options of its strategy now; defaults of then are dropped."""
    for key, default in (("predictors", "auto"), ("tuning_trials", 0)):
        if key not in search or (value := search.pop(key)) == default:
            continue
        logger.warning(
            "'%s': search.%s is an option of the strategy now, search.strategy.options.%s; the old name is read for one "
            "release",
            origin,
            key,
            key,
        )
        strategy = search.get("strategy", "predictor")
        strategy = {"name": strategy} if isinstance(strategy, str) else strategy
        options = strategy.get("options") or {} if isinstance(strategy, Mapping) else None
        if isinstance(options, Mapping) and strategy.get("name", "predictor") == "predictor":
            search["strategy"] = {**strategy, "options": {**options, key: value}}


def _named_devices(content: dict[str, Any], origin: str) -> dict[str, Any]:
    """Return an experiment whose devices stand by name under `devices`, those of `device` and `more_devices` among them."""
    if not {"device", "more_devices"} & set(content):
        return content
    if "devices" in content:
        raise InvalidInputError(f"'{origin}': give `devices` alone, not `device` or `more_devices` beside it")
    content = dict(content)
    first, further = content.pop("device", {}), content.pop("more_devices", [])
    listed = [first, *(further if isinstance(further, list | tuple) else [further])]
    if bad := [device for device in listed if not isinstance(device, Mapping)]:
        raise InvalidInputError(f"'{origin}': a device must hold keys and values, got {bad[0]!r}")
    named: dict[str, Any] = {}
    for device in (renamed_keys("device", each, origin) for each in listed):
        keys = {"backend": "onnxruntime", "threads": 1, "batch": 1, **device}
        name = device.get("label") or default_name(keys["backend"], keys["threads"], keys["batch"])
        if device.get("remote") and not device.get("label"):
            raise InvalidInputError(f"'{origin}': a remote device needs a label, as `label: raspberry-pi-5`")
        if str(name) in named:
            raise InvalidInputError(f"'{origin}': each device needs a name of its own, got '{name}' twice")
        named[str(name)] = {key: value for key, value in device.items() if key != "label"}
    logger.warning(
        "'%s': device and more_devices are called devices now, a mapping from names: %s", origin, ", ".join(named)
    )
    return {**content, "devices": named}


def renamed_columns(names: Iterable[Any], context: str) -> list[Any]:
    """Return names of columns as they are today; `context` begins the warning."""
    return [COLUMNS.get(name, name) if _warn(name, COLUMNS, context) else name for name in names]


def renamed_tensors(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tensors of a supernet, momenta among them, under today's names."""

    def today(name: str) -> str:
        prefix, colon, last = name.rpartition(":")
        return f"{prefix}{colon}{TENSORS.get(last, last)}"

    return {today(name): tensor for name, tensor in tensors.items()}


def renamed_training(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file of tensors says of its training, under today's keys."""
    training = facts.get("training")
    if not isinstance(training, Mapping):
        return dict(facts)
    return {**facts, "training": {KEYS["training"].get(key, key): value for key, value in training.items()}}


def _renamed(content: Mapping[str, Any], table: Mapping[str, str], origin: str, prefix: str) -> dict[str, Any]:
    return {table[key] if _warn(key, table, f"'{origin}': {prefix}") else key: value for key, value in content.items()}


def _warn(name: Any, table: Mapping[str, str], context: str) -> bool:
    """Return whether a name was given up, and say what it is called now."""
    if not isinstance(name, str) or name not in table:
        return False
    logger.warning("%s%s is called %s now; the old name is read for one release", context, name, table[name])
    return True
