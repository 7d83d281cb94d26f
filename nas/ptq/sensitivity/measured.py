"""Sensitivity by measuring: one group at a time in every format, all others in float32, the whole network run."""

from collections.abc import Callable, Iterable

import numpy as np

from nas.events.progress import progress_bar
from nas.ptq.sensitivity.sensitivity import SENSITIVITIES, Losses, Network, singles
from nas.tasks.divergence import DIVERGENCE
from search_spaces.space.space import Genomes


@SENSITIVITIES.register("measured")
def measured(network: Network, known: Losses, keep: Callable[[str, float], None]) -> Losses:
    """See `Sensitivity`."""
    space = network.adopted.space
    start = np.zeros(len(space.choices), np.int16)
    return losses_of(network, [start, *(genome for _, _, genome in singles(space))], known, keep)


def losses_of(network: Network, genomes: Iterable[Genomes], known: Losses, keep: Callable[[str, float], None]) -> Losses:
    """Return what is known, and the divergence of every mixture by its id.

    Args:
        network: See `Sensitivity`.
        genomes: Of mixtures, each of shape `(n_genes,)`.
        known: See `Sensitivity`; these are not measured again.
        keep: See `Sensitivity`.
    """
    subnets = {subnet.id: subnet for subnet in map(network.adopted.space.subnet, genomes)}
    missing, found = [name for name in subnets if name not in known], dict(known)
    with progress_bar("pricing formats") as update:
        for done, name in enumerate(missing):
            update(len(subnets) - len(missing) + done, len(subnets))
            found[name] = network.values(subnets[name].graph, "val")[DIVERGENCE.name]
            keep(name, found[name])
        update(len(subnets), len(subnets))
    return found
