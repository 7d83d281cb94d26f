"""Classification: one class a sample."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from nas.tasks.metric import Metric, declare
from nas.tasks.task import TASKS, Arrays, Samples
from search_spaces.graph.tensor import TensorSpec

if TYPE_CHECKING:
    from torch import Generator, Tensor


def wilson(error: float, n: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of an error in percent on n samples."""
    from scipy.stats import binomtest

    low, high = binomtest(round(error / 100 * n), n).proportion_ci(method="wilson")
    return 100 * float(low), 100 * float(high)


ERROR = declare(
    Metric(
        name="error",
        unit="%",
        digits=2,
        of_data=True,
        of_mean=lambda wrong: 100 * wrong,
        interval=wilson,
        noise=0.1,
        tolerance=0.5,
        loss="cross_entropy",
    )
)

CROSS_ENTROPY = declare(
    Metric(name="cross_entropy", title="cross-entropy", unit="nats", of_data=True, noise=0.002, tolerance=0.02)
)
WORST = 100.0  # nats of one sample, at most: an answer that is no number loses as much


@TASKS.register("classification")
@dataclass(frozen=True, kw_only=True)
class Classification:
    """One class for each image; metrics are the top-1 error in percent and the cross-entropy.

    Attributes:
        shape: Channels, height and width of an image.
        n_classes: Number of classes, at least 2.
        classes: Their names, where the data set has them.
    """

    shape: tuple[int, ...]
    n_classes: int
    classes: tuple[str, ...] = ()

    name: ClassVar[str] = "classification"
    metric: ClassVar[Metric] = ERROR
    sample: ClassVar[str] = "image"
    targets: ClassVar[str] = "labels"
    answers: ClassVar[str] = (
        'print(*np.array(subnet["output"].get("classes", range(outputs.shape[1])))[outputs.argmax(axis=1)], sep="\\n")'
    )

    @classmethod
    def of(cls, data: Samples) -> "Classification":
        """See `Task`."""
        n_classes = int(data.train["labels"].max()) + 1
        return cls(shape=data.train["images"].shape[1:], n_classes=n_classes, classes=data.facts.get("classes", ()))

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """See `Task`."""
        return (ERROR, CROSS_ENTROPY)

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Raw pixels."""
        return (TensorSpec("images", self.shape),)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """A logit for each class."""
        return (TensorSpec("logits", (self.n_classes,)),)

    @property
    def chance(self) -> float:
        """See `Task`."""
        return 100 * (1 - 1 / self.n_classes)

    def loss(self, output: "Tensor", batch: "Mapping[str, Tensor]", *, smoothing: float = 0.0) -> "Tensor":
        """Return the cross-entropy, see `Task`."""
        from torch.nn import functional

        return functional.cross_entropy(output, batch["labels"], label_smoothing=smoothing)

    def distillation_loss(self, output: "Tensor", teacher: "Tensor") -> "Tensor":
        """Return the cross-entropy with the teacher's probabilities, see `Task`."""
        from torch.nn import functional

        return functional.cross_entropy(output, teacher.softmax(dim=1))

    def augment(self, batch: "Mapping[str, Tensor]", amount: int, generator: "Generator") -> "dict[str, Tensor]":
        """Move every image by up to `amount` pixels, see `Task`."""
        from nas.tasks.augment import shift

        return {**batch, "images": shift(batch["images"], amount, generator)}

    def scores(self, output: NDArray[Any], samples: Arrays) -> dict[str, NDArray[Any]]:
        """Return which answers are wrong and what each loses, see `Task`."""
        labels, output = samples["labels"], output.astype(np.float64)
        loss = logsumexp(output, axis=1) - output[np.arange(len(labels)), labels]
        return {"error": output.argmax(axis=1) != labels, "cross_entropy": np.nan_to_num(loss, nan=WORST).clip(max=WORST)}

    def agreement(self, found: NDArray[Any], expected: NDArray[Any]) -> NDArray[np.bool_]:
        """Return where both name the same class, see `Task`."""
        same: NDArray[np.bool_] = found.argmax(axis=1) == expected.argmax(axis=1)
        return same

    def order(self, samples: Arrays) -> NDArray[np.intp]:
        """Return the classes in turn: the first sample of each, then the second of each, and so on."""
        labels = samples["labels"]
        rank = np.zeros(len(labels), int)
        for label in np.unique(labels):
            rank[labels == label] = np.arange((labels == label).sum())
        return np.lexsort((labels, rank))

    def describe(self) -> dict[str, Any]:
        """See `Task`."""
        named = {"classes": list(self.classes)} if self.classes else {}
        return {"inputs": {"values": "raw pixels"}, "outputs": {"values": "logits", **named}}

    def words(self) -> tuple[str, str]:
        """See `Task`."""
        return "raw pixels", f"{self.n_classes} logits"
