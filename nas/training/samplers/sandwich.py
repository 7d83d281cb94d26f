"""The sandwich rule: the largest network, random ones, the smallest."""

from dataclasses import dataclass

import numpy as np

from nas.training.samplers.sampler import SAMPLERS, Moment, between_corners, in_trained_formats
from search_spaces.errors import check_range
from search_spaces.space.space import Genomes


@SAMPLERS.register("sandwich")
@dataclass(frozen=True)
class SandwichSampler:
    """The largest network in the first format, random ones in any that are trained, the smallest in the last of them.

    Attributes:
        corners: Share of the steps with largest and smallest; in the others random networks stand in their place.
        compound: Share of the random networks whose sizes all stand at one level, as depth and width of uniform ones do.

    Source:
        Yu & Huang 2019, arXiv:1903.05134 (sandwich); recipe of Cai et al. 2020, arXiv:1908.09791, with formats added;
        start of shrinking: DepS, Annavajjala et al. 2024, arXiv:2407.06167; compound: CompOFA, Sahni et al. 2021,
        arXiv:2104.12642. Differs: a share of the networks, so that all others are trained, too.
    """

    corners: float = 1.0
    compound: float = 0.0

    def __post_init__(self) -> None:
        check_range("corners", self.corners, 0, 1)
        check_range("compound", self.compound, 0, 1)

    def draw(self, moment: Moment, rng: np.random.Generator) -> Genomes:
        """See `Sampler`."""
        return between_corners(moment, self.corners, rng, lambda n: self._draw(moment, n, rng))

    def _draw(self, moment: Moment, n: int, rng: np.random.Generator) -> Genomes:
        """Return so many random networks."""
        drawn = moment.space.sample(n, rng)
        if self.compound:
            levels = np.floor(rng.random((n, 1)) * moment.space.cardinalities).astype(drawn.dtype)
            drawn = moment.space.canonicalize(np.where(rng.random((n, 1)) < self.compound, levels, drawn))
        return in_trained_formats(moment, drawn, rng)
