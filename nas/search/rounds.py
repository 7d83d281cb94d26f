"""Rounds around a front: how a supernet is trained on after a search, and what each round cost and gained."""

from dataclasses import dataclass, field, replace

from nas.training.schedule import SamplerSettings, Schedule
from search_spaces.errors import check_range


@dataclass(frozen=True, kw_only=True)
class AroundFront(SamplerSettings):
    """A sampler and its options; its name alone stands for one without options."""

    name: str = "front"
    """Draws the networks of a step: front, pareto, sandwich, single_path."""


@dataclass(frozen=True, kw_only=True)
class SpecialiseSettings:
    """Training that goes on where the front is, after the first search."""

    rounds: int = 0
    """Rounds of training and search after the first; one that gains too little is the last."""
    float_epochs: int = -1
    """Float epochs of a round; -1: half of those of `training`, rounded up."""
    quantized_epochs: int = -1
    """Quantized epochs of a round; -1: likewise."""
    rate: float = 1.0
    """The learning rates of `training` are multiplied by it."""
    sampler: AroundFront = field(default_factory=AroundFront)
    """Name of a sampler, or its name and options."""
    size: int = 0
    """Networks, formats aside, that the space is narrowed to before the next round; 0: it stays as it is."""
    gain: float = 0.01
    """Share of the front's hypervolume that a round must gain to be kept, and for another one to follow."""

    def __post_init__(self) -> None:
        check_range("rounds", self.rounds, 0, 100)
        check_range("float_epochs", self.float_epochs, -1, 100_000)
        check_range("quantized_epochs", self.quantized_epochs, -1, 100_000)
        check_range("rate", self.rate, 1e-6, 1e3)
        check_range("size", self.size, 0, 10**30)
        check_range("gain", self.gain, 0, 10)

    def schedule(self, before: Schedule) -> Schedule:
        """Return the schedule of a round of what was trained by the schedule `before`."""
        asked, had = (self.float_epochs, self.quantized_epochs), (before.float_epochs, before.quantized_epochs)
        epochs = [-(-all_of_them // 2) if n == -1 else n for n, all_of_them in zip(asked, had, strict=True)]
        return replace(
            before,
            float_epochs=epochs[0],
            quantized_epochs=epochs[1],
            learning_rate=before.learning_rate * self.rate,
            quantized_learning_rate=before.quantized_learning_rate * self.rate,
            sampler=self.sampler,
            shrink_start=0.0,
            init_from="",
        )


@dataclass(frozen=True, kw_only=True)
class Round:
    """What one round cost and gained.

    Attributes:
        number: From 1.
        training_minutes: Of its epochs.
        search_minutes: Of its measurements, since they were last resumed.
        n_networks: Of the space that was trained, formats aside.
        before: Hypervolume of the front before it, in units in which both fronts fit.
        after: Hypervolume of the front after it.
        pays: Whether it is kept.
        drops: What the space was narrowed by before it, with the share of the predicted hypervolume that each cost.
        lost: Networks of the front before it that the narrowed space lacks.
        gone: Uniform networks of the whole space that it lacks, by name.
    """

    number: int
    training_minutes: float
    search_minutes: float
    n_networks: int
    before: float
    after: float
    pays: bool
    drops: tuple[tuple[str, float], ...] = ()
    lost: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()

    @property
    def gain(self) -> float:
        """The share of hypervolume that it gained."""
        return self.after / self.before - 1 if self.before else float("inf")
