"""Schedule: stages of a training, learning rates, formats that are added one by one, the start of shrinking."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Settings of a training; `nas.run.experiment.TrainingConfig` says what each value means."""

    float_epochs: int
    quantized_epochs: int
    batch_size: int
    learning_rate: float
    quantized_learning_rate: float
    warmup_epochs: int
    momentum: float
    weight_decay: float
    n_random: int
    label_smoothing: float
    clip_norm: float
    random_translate: int
    distillation: float
    shrink_start: float
    progressive_bits: bool
    uniform_share: float
    kurtosis: float
    compile: bool
    bfloat16: bool

    @property
    def epochs(self) -> int:
        """Epochs of both stages."""
        return self.float_epochs + self.quantized_epochs

    def is_quantized(self, epoch: float) -> bool:
        """Return True in the quantized stage; `epoch` counts from 0, with fractions."""
        return epoch >= self.float_epochs

    def shrinks(self, epoch: float) -> bool:
        """Return True once smaller networks than the largest are trained; `epoch` counts from 0, with fractions."""
        return epoch >= self.shrink_start * self.float_epochs

    def formats(self, offered: Sequence[str], epoch: float) -> Sequence[str]:
        """Return the number formats that are trained at a moment.

        In the float stage it is the first that is offered. With `progressive_bits` the others join in their order, at equal
        distances over the first half of the quantized stage; without, all at its start.

        Args:
            offered: Formats of the space, float32 first, few bits last.
            epoch: The moment, in epochs from 0.
        """
        if not self.is_quantized(epoch):
            return offered[:1]
        if not self.progressive_bits:
            return offered
        done = (epoch - self.float_epochs) / self.quantized_epochs
        return offered[: 2 + math.floor(2 * done * max(len(offered) - 1, 0))]

    def learning_rate_at(self, epoch: float) -> float:
        """Return the learning rate: linear warm-up, then a cosine to zero; one cosine for each stage."""
        warmup = min(self.warmup_epochs, self.float_epochs)
        if epoch < warmup:
            return self.learning_rate * (epoch + 0.05) / (warmup + 0.05)
        if epoch < self.float_epochs:
            done = (epoch - warmup) / (self.float_epochs - warmup)
            return self.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
        done = (epoch - self.float_epochs) / max(self.quantized_epochs, 1)
        return self.quantized_learning_rate * 0.5 * (1 + math.cos(math.pi * done))
