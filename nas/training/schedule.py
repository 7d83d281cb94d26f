"""Schedule: stages of a training, learning rates, formats that are added one by one, the start of shrinking."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from nas.events.named import Named
from search_spaces.errors import InvalidInputError, check_range


@dataclass(frozen=True, kw_only=True)
class SamplerSettings(Named):
    """A sampler and its options; its name alone stands for one without options."""

    name: str = "sandwich"
    """Draws the networks of a step: sandwich, single_path; around an earlier front: front, pareto."""
    options: dict[str, Any] = field(default_factory=dict)
    """Its own settings by name, as `{compound: 0.5}` of sandwich or `{neighbours: 0.3}` of front."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Settings of a training; the text under each field is its help."""

    float_epochs: int = 24
    """Epochs in which every network is float32."""
    quantized_epochs: int = 8
    """Epochs after that, in which formats are sampled too."""
    batch_size: int = 64
    """Samples a step."""
    learning_rate: float = 0.1
    """Greatest rate of the float stage."""
    quantized_learning_rate: float = 0.02
    """Greatest rate of the quantized stage."""
    warmup_epochs: float = 2
    """Epochs, or a share of one, over which the rate grows at the start."""
    optimizer: Literal["sgd", "adam", "muon"] = "sgd"
    """`sgd` with momentum; `adam` (with decoupled weight decay), at about a hundredth of its rates; `muon`, of matrices, and
    `adam` of all else, at its rates."""
    momentum: float = 0.9
    """Of SGD and of Muon, in Nesterov's form; of Adam the first of its two."""
    weight_decay: float = 1e-4
    """On weights only."""
    n_random: int = 2
    """Random networks in a step, beside the largest and the smallest."""
    sampler: SamplerSettings = field(default_factory=SamplerSettings)
    """Name of a sampler, or its name and options."""
    label_smoothing: float = 0.1
    """Of the loss on classes."""
    clip_norm: float = 5.0
    """Greatest norm of the gradient."""
    random_translate: int = 1
    """Training images are moved by up to so many pixels."""
    distillation: float = 0.0
    """Share of the other networks' loss that the answers of the largest give instead of the targets, 0 to 1."""
    shrink_start: float = 0.0
    """Share of the float stage in which the largest network is trained alone; decoders are sorted by importance then."""
    progressive_bits: bool = True
    """Formats join one by one over the first half of the quantized stage; without, all at its start."""
    uniform_share: float = 0.0
    """Share of the random networks that have one format throughout."""
    quantization_noise: bool = False
    """In the quantized stage noise of the size of a rounding error stands for rounding."""
    kurtosis: float = 0.0
    """Weight of a regularizer that spreads weights evenly for few bits; EQ-Net has 0.015."""
    error_feedback: bool = False
    """Matrices of decoders in groups of 4 bits are rounded with error feedback (GPTQ) once they are trained."""
    experts: int = 0
    """Tensors beside each shared one, of which a weight is mixed by sizes and bits of its operator; 0: none."""
    init_from: str = ""
    """File of trained weights, as another run's supernet.safetensors, to begin with."""
    compile: bool = True
    """Compile the quantizer: several times faster, once some seconds, needs a C++ compiler."""
    bfloat16: bool = False
    """Compute convolutions and matrices of the float stage in bfloat16, where the machine has it."""
    quantized_bfloat16: bool = False
    """The same for the quantized stage."""

    def __post_init__(self) -> None:
        for name in ("float_epochs", "quantized_epochs", "warmup_epochs"):
            check_range(name, getattr(self, name), 0, 100_000)
        if self.optimizer not in ("sgd", "adam", "muon"):
            raise InvalidInputError(f"training.optimizer must be sgd, adam or muon, got '{self.optimizer}'")
        check_range("distillation", self.distillation, 0, 1)
        check_range("experts", self.experts, 0, 16)
        check_range("n_random", self.n_random, 0, 64)
        check_range("random_translate", self.random_translate, 0, 64)
        check_range("batch_size", self.batch_size, 2, 65_536)
        check_range("momentum", self.momentum, 0, 0.999)
        check_range("weight_decay", self.weight_decay, 0, 1)
        check_range("label_smoothing", self.label_smoothing, 0, 0.99)
        for name in ("learning_rate", "quantized_learning_rate"):
            check_range(name, getattr(self, name), 1e-9, 10)
        check_range("shrink_start", self.shrink_start, 0, 1)
        check_range("uniform_share", self.uniform_share, 0, 1)
        check_range("kurtosis", self.kurtosis, 0, 1e3)
        check_range("clip_norm", self.clip_norm, 1e-9, 1e9)
        check_range("float_epochs + quantized_epochs", self.epochs, 1, 200_000)

    @property
    def epochs(self) -> int:
        """Epochs of both stages."""
        return self.float_epochs + self.quantized_epochs

    @property
    def finetuning_rate(self) -> float:
        """The greatest rate at which one network is trained on unless another is asked for.

        With SGD it is the float stage's: small steps do not leave what networks shared (experiments/results/specialise.md).
        """
        return self.learning_rate if self.optimizer == "sgd" else self.quantized_learning_rate

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
