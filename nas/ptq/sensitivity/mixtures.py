"""Sensitivity by fitting: random mixtures are measured, and what single groups lose is what adds up to them best.

Every network that is measured tells of all groups at once, so that many groups are known better than by as many networks of
which each moves one; and they are told of where searches look, among mixtures. What mixtures have in common, where losses do
not add up, is what the start is said to lose.
"""

from collections.abc import Callable

import numpy as np

from nas.ptq.sensitivity.measured import losses_of
from nas.ptq.sensitivity.sensitivity import SENSITIVITIES, Losses, Network, singles

N_EACH = 3  # mixtures for each format of each group


@SENSITIVITIES.register("mixtures")
def mixtures(network: Network, known: Losses, keep: Callable[[str, float], None]) -> Losses:
    """See `Sensitivity`; takes as many networks as `averaged` does of three formats. No group gains by losing precision.

    Source:
        Designs that vary all factors at once: Box, Hunter & Hunter 2005, Statistics for Experimenters; least squares without
        negative effects: Lawson & Hanson 1974, Solving Least Squares Problems, chapter 23.
    """
    from scipy.optimize import nnls

    space = network.adopted.space
    alone = singles(space)
    drawn = space.sample(max(1, N_EACH * len(alone)), np.random.default_rng(0))
    losses = losses_of(network, drawn, known, keep)
    measured = np.array([losses[space.subnet(genome).id] for genome in drawn])
    has = np.reshape([drawn[:, gene] == option for gene, option, _ in alone], (len(alone), len(drawn))).T
    common, *added = nnls(np.column_stack([np.ones(len(drawn)), has]), measured)[0]
    found = {space.subnet(np.zeros(len(space.choices), np.int16)).id: float(common)}
    return found | {space.subnet(genome).id: float(common + each) for (_, _, genome), each in zip(alone, added, strict=True)}
