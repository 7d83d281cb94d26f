"""Pareto-biased: of random networks that cost alike the one that an earlier search promises most of."""

from dataclasses import dataclass

import numpy as np

from nas.training.samplers.front import found_before
from nas.training.samplers.sampler import SAMPLERS, Around, Moment, between_corners, in_trained_formats
from search_spaces.errors import check_range
from search_spaces.space.space import Genomes

COSTS = 8  # groups of candidates that cost alike, of which a step has some


@SAMPLERS.register("pareto")
@dataclass(frozen=True)
class ParetoSampler:
    """The best predicted of several random networks that cost alike, at random costs; largest and smallest in some steps.

    Attributes:
        candidates: Random networks for one that is trained.
        corners: Share of the steps with largest and smallest in the place of two.

    Source:
        AttentiveNAS, Wang et al. 2020, arXiv:2011.09011 (BestUp). Differs: ranks and costs come from an earlier search's
        measurements and the device's table, and candidates are grouped by their quantile of cost.
    """

    candidates: int = 8
    corners: float = 0.0
    needs_front = True

    def __post_init__(self) -> None:
        check_range("candidates", self.candidates, 1, 1_000)
        check_range("corners", self.corners, 0, 1)

    def draw(self, moment: Moment, rng: np.random.Generator) -> Genomes:
        """See `Sampler`."""
        around = found_before(moment)
        return between_corners(moment, self.corners, rng, lambda n: self._draw(moment, around, n, rng))

    def _draw(self, moment: Moment, around: Around, n: int, rng: np.random.Generator) -> Genomes:
        """Return so many promising networks, those that cost most first."""
        drawn = moment.space.sample(self.candidates * max(COSTS, n), rng)
        groups = np.argsort(-around.cost(drawn), kind="stable").reshape(-1, self.candidates)
        groups = groups[np.sort(rng.permutation(len(groups))[:n])]  # the first teaches: it costs most
        best = np.take_along_axis(groups, np.argmin(around.rank(drawn)[groups], axis=1)[:, None], axis=1)[:, 0]
        return in_trained_formats(moment, drawn[best], rng, kept=0.5)
