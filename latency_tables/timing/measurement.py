"""Measurement: how long one model takes, round by round."""

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Measurement:
    """Latency of one model, round by round.

    Attributes:
        rounds: Milliseconds found in each round.
        is_clean: Whether the machine was undisturbed, for each round.
    """

    rounds: tuple[float, ...]
    is_clean: tuple[bool, ...]

    def of_one(self, n: int, call: float) -> "Measurement":
        """Return what one of `n` copies that were timed in one model takes, with the milliseconds of a call of its own."""
        if n == 1:
            return self
        return replace(self, rounds=tuple(max(ms - call, 0.0) / n + call for ms in self.rounds))

    @property
    def counted(self) -> tuple[float, ...]:
        """The undisturbed rounds if these are at least half; otherwise all."""
        pairs = zip(self.rounds, self.is_clean, strict=True)
        return tuple(ms for ms, fine in pairs if fine) if 2 * sum(self.is_clean) >= len(self.rounds) else self.rounds

    @property
    def ms(self) -> float:
        """Mean of the middle half of the rounds that count, in milliseconds."""
        return _middle_mean(self.counted)

    @property
    def spread(self) -> float:
        """Range of the middle half of the rounds that count, over `ms`."""
        low, high = np.percentile(self.counted, [25, 75])
        return float(high - low) / self.ms

    @property
    def halves(self) -> tuple[float, float]:
        """The `ms` of every other round and of the rounds between; of those that count, or of all where only one does."""
        rounds = self.counted if len(self.counted) > 1 else self.rounds
        return _middle_mean(rounds[0::2]), _middle_mean(rounds[1::2])

    @property
    def split_half(self) -> float:
        """Relative difference between the two halves: how well the truth repeats."""
        first, second = self.halves
        return abs(first - second) / self.ms


def _middle_mean(values: tuple[float, ...]) -> float:
    """Return the geometric mean of the middle half: steadier than the median where a machine has two speeds."""
    ordered = np.sort(values)
    left_out = (len(ordered) + 1) // 4
    return float(np.exp(np.log(ordered[left_out : len(ordered) - left_out]).mean()))
