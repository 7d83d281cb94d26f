"""Random YAML as an experiment: it is read, or refused in one clear sentence."""

from dataclasses import asdict, fields, is_dataclass

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nas.run.experiment import Experiment
from search_spaces.errors import InvalidInputError

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**12), 10**12),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(
        ["1e3", "-0", ".nan", "~", "0x10", "[", "{}", "digits", "float32", "../x", "\x00", "é" * 30, "a" * 5000]
    ),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6) | st.integers(), inner, max_size=3),
    max_leaves=5,
)


def keys(kind=Experiment, prefix=()):
    """Every key of an experiment, as a path."""
    found = []
    for field in fields(kind):
        path = (*prefix, field.name)
        found.append(path)
        if isinstance(field.default_factory, type) and is_dataclass(field.default_factory):
            found += keys(field.default_factory, path)
    return found


PATHS = keys()


def read(path):
    """Return the experiment, or None where it was refused."""
    try:
        return Experiment.from_yaml(path)
    except InvalidInputError as error:
        message = str(error)
    assert message.strip()
    assert "\n" not in message
    assert len(message) < 6_000
    return None


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("yaml") / "experiment.yaml"


common = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@common
@given(changes=st.dictionaries(st.sampled_from(PATHS), VALUES, min_size=1, max_size=3))
def test_any_value_of_any_key(path, changes):
    content = {"name": "x"}
    for keys_of, value in changes.items():
        inner = content
        for key in keys_of[:-1]:
            if not isinstance(inner.get(key), dict):
                inner[key] = {}
            inner = inner[key]
        inner[keys_of[-1]] = value
    path.write_text(yaml.safe_dump(content))
    experiment = read(path)
    if experiment is not None:  # what is accepted is kept as it is
        path.write_text(yaml.safe_dump(experiment.to_dict()))
        assert asdict(Experiment.from_yaml(path)) == asdict(experiment)


@common
@given(content=VALUES)
def test_any_document(path, content):
    path.write_text(yaml.safe_dump(content))
    read(path)


@common
@given(text=st.text(max_size=60))
def test_any_text(path, text):
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    read(path)


@common
@given(content=st.binary(max_size=60))
def test_any_bytes(path, content):
    path.write_bytes(content)
    read(path)
