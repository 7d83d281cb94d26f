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

    Source:
        Yu & Huang 2019, arXiv:1903.05134 (sandwich); recipe of Cai et al. 2020, arXiv:1908.09791, with formats added;
        start of shrinking: DepS, Annavajjala et al. 2024, arXiv:2407.06167.
    """

    corners: float = 1.0

    def __post_init__(self) -> None:
        check_range("corners", self.corners, 0, 1)

    def draw(self, moment: Moment, rng: np.random.Generator) -> Genomes:
        """See `Sampler`."""
        return between_corners(
            moment, self.corners, rng, lambda n: in_trained_formats(moment, moment.space.sample(n, rng), rng)
        )
