"""Segmentation: one class for each pixel."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from nas.tasks.metric import METRICS, Metric, declare
from nas.tasks.task import TASKS, Arrays, Samples
from search_spaces.errors import InvalidInputError
from search_spaces.graph.tensor import TensorSpec

if TYPE_CHECKING:
    from torch import Generator, Tensor

MIN_SAME_PIXELS = 0.99  # of two masks that agree

MEAN_IOU = declare(
    Metric(
        name="mean_iou",
        title="mean IoU",
        unit="%",
        direction="max",
        digits=2,
        of_data=True,
        of_mean=lambda share: 100 * share,
        noise=0.1,
        tolerance=0.5,
        loss="cross_entropy",
    )
)


@TASKS.register("segmentation")
@dataclass(frozen=True, kw_only=True)
class Segmentation:
    """A class for each pixel; metrics are the mean intersection over union and the cross-entropy of a pixel.

    The intersection over union of an image is the mean over the classes that it or the answer has.

    Attributes:
        shape: Channels, height and width of an image.
        n_classes: Number of classes, the background counted.
        classes: Their names, where the data set has them.
        chance: Mean IoU of calling everything background.
    """

    shape: tuple[int, ...]
    n_classes: int
    classes: tuple[str, ...] = ()
    chance: float = 50.0

    name: ClassVar[str] = "segmentation"
    metric: ClassVar[Metric] = MEAN_IOU
    sample: ClassVar[str] = "image"
    targets: ClassVar[str] = "masks"
    answers: ClassVar[str] = 'print(*(np.bincount(mask.ravel()).tolist() for mask in outputs.argmax(axis=1)), sep="\\n")'

    @classmethod
    def of(cls, data: Samples) -> "Segmentation":
        """See `Task`."""
        images, masks = data.train["images"], data.train["masks"]
        if images.shape[2:] != masks.shape[1:]:
            raise InvalidInputError(f"masks of {masks.shape[1:]} do not fit images of {images.shape[2:]}")
        n_classes = 1 + max(int(split["masks"].max()) for split in data.splits.values())
        guess = 100 * float(mean_iou(np.zeros_like(masks), masks, n_classes).mean())
        return cls(shape=images.shape[1:], n_classes=n_classes, classes=data.facts.get("classes", ()), chance=guess)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """See `Task`."""
        return (MEAN_IOU, METRICS["cross_entropy"])

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Raw pixels."""
        return (TensorSpec("images", self.shape),)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """A logit for each class of each pixel."""
        return (TensorSpec("logits", (self.n_classes, *self.shape[1:])),)

    def loss(self, output: "Tensor", batch: "Mapping[str, Tensor]", *, smoothing: float = 0.0) -> "Tensor":
        """Return the cross-entropy of a pixel, see `Task`."""
        from torch.nn import functional

        return functional.cross_entropy(output, batch["masks"], label_smoothing=smoothing)

    def distillation_loss(self, output: "Tensor", teacher: "Tensor") -> "Tensor":
        """Return the cross-entropy with the teacher's probabilities, see `Task`."""
        from torch.nn import functional

        return functional.cross_entropy(output, teacher.softmax(dim=1))

    def augment(self, batch: "Mapping[str, Tensor]", amount: int, generator: "Generator") -> "dict[str, Tensor]":
        """Roll images and masks by up to `amount` pixels, all of a batch alike, see `Task`."""
        import torch

        if amount == 0:
            return dict(batch)
        offsets = torch.randint(-amount, amount + 1, (2,), generator=generator).tolist()
        return {**batch, **{name: batch[name].roll(offsets, (-2, -1)) for name in ("images", "masks")}}

    def scores(self, output: NDArray[Any], samples: Arrays) -> dict[str, NDArray[Any]]:
        """Return intersection over union and cross-entropy of each image, see `Task`."""
        masks, output = samples["masks"], output.astype(np.float64)
        chosen = np.take_along_axis(output, masks[:, None], axis=1)[:, 0]
        loss = (logsumexp(output, axis=1) - chosen).mean(axis=(1, 2))
        return {"mean_iou": mean_iou(output.argmax(axis=1), masks, self.n_classes), "cross_entropy": loss}

    def agreement(self, found: NDArray[Any], expected: NDArray[Any]) -> NDArray[np.bool_]:
        """Return where 99 % of the pixels have the same class, see `Task`."""
        alike: NDArray[np.bool_] = (found.argmax(axis=1) == expected.argmax(axis=1)).mean(axis=(1, 2)) >= MIN_SAME_PIXELS
        return alike

    def order(self, samples: Arrays) -> NDArray[np.intp]:
        """Return the images as they come."""
        return np.arange(len(samples["images"]))

    def describe(self) -> dict[str, Any]:
        """See `Task`."""
        named = {"classes": list(self.classes)} if self.classes else {}
        return {"inputs": {"values": "raw pixels"}, "outputs": {"values": "logits of each pixel", **named}}

    def words(self) -> tuple[str, str]:
        """See `Task`."""
        return "raw pixels", f"{self.n_classes} logits for each pixel"


def mean_iou(found: NDArray[Any], masks: NDArray[Any], n_classes: int) -> NDArray[np.float64]:
    """Return for each image the mean over its classes of what both have over what either has, shape `(n,)`."""
    shares = np.full((n_classes, len(masks)), np.nan)
    for label in range(n_classes):
        both = ((found == label) & (masks == label)).sum(axis=(1, 2))
        either = ((found == label) | (masks == label)).sum(axis=(1, 2))
        np.divide(both, either, out=shares[label], where=either > 0)
    return np.asarray(np.nanmean(shares, axis=0))
