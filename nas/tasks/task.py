"""The interface of a task."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from nas.tasks.metric import Metric
from search_spaces.graph.tensor import TensorSpec
from search_spaces.registry import Registry

if TYPE_CHECKING:
    from torch import Generator, Tensor

Arrays = Mapping[str, NDArray[Any]]
"""Arrays of some samples by name, the samples along the first axis of each."""


class Samples(Protocol):
    """What a task is made for: a data set, see `nas.data.Dataset`."""

    @property
    def train(self) -> Arrays:
        """The training samples."""

    @property
    def splits(self) -> Mapping[str, Arrays]:
        """All samples by split."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the source knows of its samples besides, such as names of classes."""


class Task(Protocol):
    """What goes into a network, what comes out, what is lost and what is scored.

    A new one is a file with a class of these methods, registered under its name. It imports torch inside the methods that
    need it, so that names of tasks and metrics are known without.

    Attributes:
        name: Under which it is registered.
        metric: What is measured of every network and steers a search.
        sample: What one sample is called, in the singular.
        targets: Array of the samples that says what a network should give; it names the kind, too, see `nas.data.targets`.
        metrics: All that is measured, `metric` first.
        inputs: What a network takes, named as arrays of the samples.
        outputs: What it gives.
        chance: Value of `metric` of a network that has learned nothing.
    """

    name: ClassVar[str]
    metric: ClassVar[Metric]
    sample: ClassVar[str]
    targets: ClassVar[str]

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """All that is measured, `metric` first."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What a network takes, without the batch axis."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What a network gives, without the batch axis."""

    @property
    def chance(self) -> float:
        """Value of `metric` of a network that has learned nothing."""

    @classmethod
    def of(cls, data: Samples) -> "Task":
        """Return the task on a data set.

        Raises:
            InvalidInputError: If the data set is none for this task.
        """

    def loss(self, output: "Tensor", batch: "Mapping[str, Tensor]", *, smoothing: float = 0.0) -> "Tensor":
        """Return the mean loss of a batch, shape `()`.

        Args:
            output: Shape `(n, *outputs[0].shape)`.
            batch: The samples by name.
            smoothing: Share of a target that is spread evenly, where targets can be smoothed.
        """

    def distillation_loss(self, output: "Tensor", teacher: "Tensor") -> "Tensor":
        """Return the mean loss of a batch against what another network gives, both of one shape."""

    def augment(self, batch: "Mapping[str, Tensor]", amount: int, generator: "Generator") -> "dict[str, Tensor]":
        """Return a training batch, changed at random in a way that the targets allow; 0 changes nothing."""

    def scores(self, output: NDArray[Any], samples: Arrays) -> dict[str, NDArray[Any]]:
        """Return the score of each sample by metric, shape `(n,)`; `Metric.of_mean` makes the value of their mean."""

    def agreement(self, found: NDArray[Any], expected: NDArray[Any]) -> NDArray[np.bool_]:
        """Return for which samples two outputs answer alike, shape `(n,)`."""

    def order(self, samples: Arrays) -> NDArray[np.intp]:
        """Return an order of samples, shape `(n,)`, in which the first ones are as different as there are."""

    def describe(self) -> dict[str, Any]:
        """Return plain values of what a network takes and gives, for `subnet.json`: `inputs` and `outputs`, by key."""

    def words(self) -> tuple[str, str]:
        """Return in words what a network takes and gives, for a model card."""

    answers: ClassVar[str]
    """Lines of Python that print what `outputs`, shape `(n, ...)`, say, with `subnet`, the content of subnet.json."""


TASKS: Registry[type[Task]] = Registry("task")


def phases_of(task: type[Task]) -> tuple[str, ...]:
    """Return the phases in which a task's networks are timed, each with its own latency; none: they are run in one way."""
    return tuple(getattr(task, "phases", ()))


def values(task: Task, output: NDArray[Any], samples: Arrays) -> dict[str, float]:
    """Return the value of every metric of a task on samples.

    Args:
        task: The task.
        output: What a network gives, shape `(n, ...)`.
        samples: The samples by name.
    """
    return values_of(task, [task.scores(output, samples)])


def values_of(task: Task, scores: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, float]:
    """Return the value of every metric of a task from the scores of batches of samples, see `Task.scores`."""
    joined = {metric: np.concatenate([batch[metric.name] for batch in scores]) for metric in task.metrics}
    return {metric.name: metric.of_mean(float(np.mean(array))) for metric, array in joined.items()}


def has_collapsed(task: Task, value: float, earlier: Sequence[float]) -> bool:
    """Return whether a network ends up guessing although it, or one before it, did not.

    Args:
        task: Says what guessing gives.
        value: Of the task's first metric.
        earlier: The same at earlier moments.
    """
    metric = task.metric
    learned, guessing = (0.8, 0.95) if metric.direction == "min" else (1.2, 1.05)
    was_good = any(metric.is_better(v, learned * task.chance) for v in earlier)
    return was_good and metric.is_better(guessing * task.chance, value)
