"""Single path: random networks alone, by default one in a step."""

from dataclasses import dataclass

import numpy as np

from nas.training.samplers.sampler import SAMPLERS, Moment, in_trained_formats
from search_spaces.errors import check_range
from search_spaces.space.space import Genomes


@SAMPLERS.register("single_path")
@dataclass(frozen=True)
class SinglePathSampler:
    """Random networks, in random formats of those that are trained.

    Attributes:
        networks: In a step.

    Source:
        Guo et al. 2019, arXiv:1904.00420: one uniform path a step.
    """

    networks: int = 1

    def __post_init__(self) -> None:
        check_range("networks", self.networks, 1, 64)

    def draw(self, moment: Moment, rng: np.random.Generator) -> Genomes:
        """See `Sampler`."""
        return in_trained_formats(moment, moment.space.sample(self.networks, rng), rng)
