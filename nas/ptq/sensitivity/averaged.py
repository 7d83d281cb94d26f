"""Sensitivity by measuring in several surroundings: all other groups in the first format, in the second, and so on.

What a group loses in a format depends on what the others lose: in a network of 8 bits errors of one more group cancel out or
pile up as they do not beside float32, and where much is lost already little is added. A table that adds up is nearest to all
mixtures where it holds what each format loses on average over them; networks of one format each stand for them.
"""

from collections.abc import Callable

import numpy as np

from nas.ptq.sensitivity.measured import losses_of
from nas.ptq.sensitivity.sensitivity import SENSITIVITIES, Losses, Network, singles


@SENSITIVITIES.register("averaged")
def averaged(network: Network, known: Losses, keep: Callable[[str, float], None]) -> Losses:
    """See `Sensitivity`; takes as many times the networks of `measured` as there are formats.

    Source:
        Main effects, the best sum of functions of one variable each: Hoeffding 1948; Sobol 1993.
    """
    space = network.adopted.space
    last = space.cardinalities - 1
    surroundings = [np.minimum(level, last).astype(np.int16) for level in range(int(last.max()) + 1)]

    def name(surrounding: int, gene: int, option: int) -> str:
        return space.subnet(within[surrounding, gene, option]).id

    within = {}
    for i, surrounding in enumerate(surroundings):
        for gene, n in enumerate(space.cardinalities):
            for option in range(n):
                within[i, gene, option] = surrounding.copy()
                within[i, gene, option][gene] = option
    losses = losses_of(network, within.values(), known, keep)
    start = space.subnet(surroundings[0]).id
    found = {start: losses[start]}
    for gene, option, genome in singles(space):
        added = [losses[name(i, gene, option)] - losses[name(i, gene, 0)] for i in range(len(surroundings))]
        found[space.subnet(genome).id] = losses[start] + float(np.mean(added))
    return found
