"""Regression: some numbers a sample, each in a unit of its own."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nas.tasks.metric import Metric, declare
from nas.tasks.task import TASKS, Arrays, Samples
from search_spaces.errors import InvalidInputError
from search_spaces.graph.tensor import TensorSpec

if TYPE_CHECKING:
    from torch import Generator, Tensor

ALIKE = 0.05  # standard deviations by which two answers may differ

RMSE = declare(
    Metric(name="rmse", title="RMSE", unit="std", digits=3, of_data=True, of_mean=math.sqrt, noise=0.002, tolerance=0.01)
)


@TASKS.register("regression")
@dataclass(frozen=True, kw_only=True)
class Regression:
    """Some numbers for each image; a network gives them standardised.

    The first metric is the root mean squared error over all numbers in standard deviations of the training targets, then
    follows that of each number in its own unit.

    Attributes:
        shape: Channels, height and width of an image.
        names: Of the numbers.
        units: Of the numbers; empty where there is none.
        mean: Of each number over the training samples.
        std: Likewise its standard deviation, above 0.
    """

    shape: tuple[int, ...]
    names: tuple[str, ...]
    units: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    name: ClassVar[str] = "regression"
    metric: ClassVar[Metric] = RMSE
    sample: ClassVar[str] = "image"
    targets: ClassVar[str] = "numbers"
    answers: ClassVar[str] = (
        'told = subnet["output"]\n'
        'print(*(" ".join(filter(None, pair)) for pair in zip(told["names"], told["units"])), sep="\\t")\n'
        'print(*("\\t".join(f"{x:.5g}" for x in row) for row in outputs * told["std"] + told["mean"]), sep="\\n")'
    )

    @classmethod
    def of(cls, data: Samples) -> "Regression":
        """See `Task`."""
        targets = data.train["numbers"].astype(np.float64)
        n = targets.shape[1]
        names = tuple(data.facts.get("names", [f"number{i + 1}" for i in range(n)]))
        units = tuple(data.facts.get("units", [""] * n))
        if not len(set(names)) == len(names) == len(units) == n or not all(map(str.isidentifier, names)):
            raise InvalidInputError(f"{n} numbers need as many distinct names of letters and units, got {names} and {units}")
        mean, std = (tuple(values.tolist()) for values in (targets.mean(axis=0), targets.std(axis=0)))
        if constant := [name for name, deviation in zip(names, std, strict=True) if deviation == 0]:
            raise InvalidInputError(f"the training targets {constant} are all alike: nothing can be learned of them")
        return cls(shape=data.train["images"].shape[1:], names=names, units=units, mean=mean, std=std)

    @cached_property
    def metrics(self) -> tuple[Metric, ...]:
        """See `Task`."""
        numbers = zip(self.names, self.units, self.std, strict=True)
        return (
            RMSE,
            *(
                Metric(
                    name="_".join(filter(None, (name, "rmse", unit if unit.isidentifier() else ""))),
                    title=f"RMSE of {name}",
                    unit=unit,
                    of_data=True,
                    of_mean=math.sqrt,
                    noise=RMSE.noise * std,
                    tolerance=RMSE.tolerance * std,
                )
                for name, unit, std in numbers
            ),
        )

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Raw pixels."""
        return (TensorSpec("images", self.shape),)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The numbers, standardised."""
        return (TensorSpec("values", (len(self.names),)),)

    @property
    def chance(self) -> float:
        """Of always answering the mean."""
        return 1.0

    def loss(self, output: "Tensor", batch: "Mapping[str, Tensor]", *, smoothing: float = 0.0) -> "Tensor":  # noqa: ARG002
        """Return the mean squared error of standardised numbers, see `Task`."""
        from torch.nn import functional

        mean, std = (output.new_tensor(values) for values in (self.mean, self.std))
        return functional.mse_loss(output, (batch["numbers"] - mean) / std)

    def distillation_loss(self, output: "Tensor", teacher: "Tensor") -> "Tensor":
        """Return the mean squared difference, see `Task`."""
        from torch.nn import functional

        return functional.mse_loss(output, teacher)

    def augment(self, batch: "Mapping[str, Tensor]", amount: int, generator: "Generator") -> "dict[str, Tensor]":
        """Move every image by up to `amount` pixels, see `Task`."""
        from nas.tasks.augment import shift

        return {**batch, "images": shift(batch["images"], amount, generator)}

    def scores(self, output: NDArray[Any], samples: Arrays) -> dict[str, NDArray[Any]]:
        """Return squared errors, see `Task`."""
        errors = output.astype(np.float64) - (samples["numbers"] - np.array(self.mean)) / np.array(self.std)
        own = (errors * self.std) ** 2
        first, *others = self.metrics
        return {first.name: (errors**2).mean(axis=1), **{m.name: own[:, i] for i, m in enumerate(others)}}

    def agreement(self, found: NDArray[Any], expected: NDArray[Any]) -> NDArray[np.bool_]:
        """Return where no number differs by more than 0.05 standard deviations, see `Task`."""
        return np.asarray((np.abs(found - expected) <= ALIKE).all(axis=1))

    def order(self, samples: Arrays) -> NDArray[np.intp]:
        """Return samples spread evenly over the first number, see `Task`."""
        ranked = np.argsort(samples["numbers"][:, 0], kind="stable")
        return np.asarray(ranked[np.argsort(np.arange(len(ranked)) * 0.618034 % 1, kind="stable")])

    def describe(self) -> dict[str, Any]:
        """See `Task`."""
        told = {name: list(getattr(self, name)) for name in ("names", "units", "mean", "std")}
        return {"inputs": {"values": "raw pixels"}, "outputs": {"values": "numbers, standardised: (x - mean) / std", **told}}

    def words(self) -> tuple[str, str]:
        """See `Task`."""
        return "raw pixels", f"{len(self.names)} standardised numbers ({', '.join(self.names)})"
