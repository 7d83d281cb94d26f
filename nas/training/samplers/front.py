"""Around a front: the networks that an earlier search has found, and their neighbours."""

from dataclasses import dataclass

import numpy as np

from nas.training.samplers.sampler import SAMPLERS, Around, Moment, between_corners, in_trained_formats
from search_spaces.errors import InvalidInputError, check_range
from search_spaces.space.baselines import format_genes
from search_spaces.space.space import Genomes


@SAMPLERS.register("front")
@dataclass(frozen=True)
class FrontSampler:
    """Networks of an earlier front and their neighbours; largest and smallest of the space in some steps.

    Half of them keep their formats, as far as they are trained by then; the others draw new ones, so that formats stay
    free to move.

    Attributes:
        neighbours: Share of the networks that are drawn beside the front.
        changes: Choices in which a neighbour differs, formats aside, on average.
        corners: Share of the steps with largest and smallest in the place of two.

    Source:
        PreNAS, Wang et al. 2023, arXiv:2304.14636: preferred networks alone are trained. Differs: a measured front is
        preferred, after a training of the whole space.
    """

    neighbours: float = 0.5
    changes: float = 1.0
    corners: float = 0.0
    needs_front = True

    def __post_init__(self) -> None:
        check_range("neighbours", self.neighbours, 0, 1)
        check_range("changes", self.changes, 0, 1_000)
        check_range("corners", self.corners, 0, 1)

    def draw(self, moment: Moment, rng: np.random.Generator) -> Genomes:
        """See `Sampler`."""
        around = found_before(moment)
        return between_corners(moment, self.corners, rng, lambda n: self._draw(moment, around, n, rng))

    def _draw(self, moment: Moment, around: Around, n: int, rng: np.random.Generator) -> Genomes:
        """Return so many networks around the front, those that cost most first."""
        space, chosen = moment.space, rng.choice(around.front, n)
        free = np.setdiff1d(np.flatnonzero(space.cardinalities > 1), format_genes(space))
        moved = rng.random((len(chosen), len(free))) < self.changes / max(len(free), 1)
        moved &= rng.random((len(chosen), 1)) < self.neighbours
        chosen[:, free] = np.where(moved, rng.integers(0, space.cardinalities[free], moved.shape), chosen[:, free])
        trained = in_trained_formats(moment, space.canonicalize(chosen), rng, kept=0.5)
        ordered: Genomes = trained[np.argsort(-around.cost(trained), kind="stable")]
        return ordered


def found_before(moment: Moment) -> Around:
    """Return what an earlier search has found.

    Raises:
        InvalidInputError: If there was none.
    """
    if moment.around is None:
        raise InvalidInputError("training.sampler: this sampler draws around an earlier front; `hwnas specialise` gives one")
    return moment.around
