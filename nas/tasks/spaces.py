"""The search space of a task: a registered family, for what the task takes and gives."""

import inspect
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from nas.tasks.task import Task
from search_spaces import SPACES, SearchSpace
from search_spaces.errors import InvalidInputError, users_code

logger = logging.getLogger(__name__)


def build_space(name: str, task: Task, formats: Sequence[str] = ()) -> SearchSpace:
    """Return a registered space for a task.

    Args:
        name: Name of the space.
        task: Gives the shapes of inputs and outputs.
        formats: Number formats to choose from; none: those of the space.

    Raises:
        InvalidInputError: If the space is unknown, or cannot be built so.
    """
    build = SPACES.get(name)
    settings: dict[str, Any] = {"input_shape": task.inputs[0].shape, "outputs": task.outputs[0]}
    if "n_classes" in inspect.signature(build).parameters:
        logger.warning("space '%s' takes n_classes; it takes `outputs`, a TensorSpec, from the next release on", name)
        settings["n_classes"] = settings.pop("outputs").shape[0]
    if formats:
        settings["formats"] = tuple(formats)
    with users_code(f"the space '{name}' cannot be built with {', '.join(settings)}"):
        space = build(**settings)
    if not isinstance(space, SearchSpace):
        raise InvalidInputError(f"the space '{name}' must give a SearchSpace, got {type(space).__name__}")
    if space.slots and (n := space.n_inputs) != len(task.inputs):
        raise InvalidInputError(f"the space '{name}' takes {n} inputs, the task {len(task.inputs)}")
    graph = space.subnet(np.zeros(len(space.choices), np.int16)).graph
    takes, given = [t.dtype for node in graph.inputs for t in node.outputs], [t.dtype for t in task.inputs]
    if takes != given:
        raise InvalidInputError(f"the space '{name}' takes {', '.join(takes)}, the task gives {', '.join(given)}")
    return space
