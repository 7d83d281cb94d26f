"""Sensitivity by measuring: one group at a time in every format, all others in float32, the whole network run."""

from collections.abc import Callable

import numpy as np

from nas.events.progress import progress_bar
from nas.ptq.sensitivity.sensitivity import SENSITIVITIES, Losses, Network, singles
from nas.tasks.divergence import DIVERGENCE


@SENSITIVITIES.register("measured")
def measured(network: Network, known: Losses, keep: Callable[[str, float], None]) -> Losses:
    """See `Sensitivity`."""
    space = network.adopted.space
    genomes = [np.zeros(len(space.choices), np.int16), *(genome for _, _, genome in singles(space))]
    found = dict(known)
    with progress_bar("pricing formats") as update:
        for done, genome in enumerate(genomes):
            subnet = space.subnet(genome)
            update(done, len(genomes))
            if subnet.id not in found:
                found[subnet.id] = network.values(subnet.graph, "val")[DIVERGENCE.name]
                keep(subnet.id, found[subnet.id])
        update(len(genomes), len(genomes))
    return found
