import pytest

from search_spaces import Choice, InvalidInputError
from search_spaces.registry import Registry


def test_choice_needs_distinct_options():
    with pytest.raises(InvalidInputError, match="choice 'kernel' needs at least one option, got none"):
        Choice("kernel", ())
    with pytest.raises(InvalidInputError, match=r"choice 'kernel' needs distinct options, got \[3, 3\]"):
        Choice("kernel", (3, 3))


def test_registry_suggests_the_nearest():
    registry: Registry[int] = Registry("backend")
    registry.register("onnxruntime")(1)
    assert registry.get("onnxruntime") == 1
    with pytest.raises(InvalidInputError, match="unknown backend 'onxruntime' .did you mean 'onnxruntime'"):
        registry.get("onxruntime")
    with pytest.raises(ValueError, match="backend 'onnxruntime' is registered twice"):
        registry.register("onnxruntime")(2)
