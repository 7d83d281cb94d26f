"""Experiments to start from: `hwnas new NAME > mine.yaml`."""

from importlib.resources import files

from search_spaces.errors import InvalidInputError, did_you_mean


def names() -> list[str]:
    """Return the names of the templates."""
    return sorted(file.name.removesuffix(".yaml") for file in files(__name__).iterdir() if file.name.endswith(".yaml"))


def template(name: str) -> str:
    """Return an experiment as YAML text.

    Raises:
        InvalidInputError: If there is none of that name.
    """
    if name not in names():
        raise InvalidInputError(f"unknown template '{name}'{did_you_mean(name, names())}; known: {', '.join(names())}")
    return files(__name__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
