"""Whether any network keeps the limits, found out before anything is trained; and if none does, why."""

from collections.abc import Mapping

import numpy as np

from nas.search.exact import exact_front
from search_spaces.costs import FactorTable
from search_spaces.errors import InvalidInput
from search_spaces.space import SearchSpace

TOLERANCE = 1e-3  # of each cost's range, for three limits and more


def check_feasible(space: SearchSpace, tables: Mapping[str, FactorTable], greatest: Mapping[str, float]) -> None:
    """Make sure that some network keeps all limits at once.

    Exact for one and two limits; with three and more, limits that are met by less than 0.1 % of a cost's range may be
    called out of reach.

    Args:
        space: The space.
        tables: Additive costs by name; limits on others are not looked at.
        greatest: Limits by name.

    Raises:
        InvalidInput: If none does: with the limits that cannot be kept even alone and the least value of each; or else the
            network that comes nearest to keeping all of them.
    """
    limited = {name: tables[name] for name in greatest if name in tables}
    if not limited:
        return
    alone = []
    for name, table in limited.items():
        front = exact_front(space, {name: table})
        if front.values[0, 0] > greatest[name]:
            network = space.architecture(front.genomes[0]).id
            alone.append(f"{name} is at least {front.values[0, 0]:.6g}, by network {network}, not {greatest[name]:g}")
    if alone:
        raise InvalidInput(f"no network keeps the limits: {'; '.join(alone)}")
    if len(limited) == 1:
        return
    front = exact_front(space, limited, tolerance=TOLERANCE if len(limited) > 2 else 0.0)
    limits = np.array([greatest[name] for name in limited])
    excess = (front.values / limits).max(axis=1)
    nearest = int(excess.argmin())
    if excess[nearest] > 1:
        values = ", ".join(f"{n} {v:.6g}" for n, v in zip(limited, front.values[nearest], strict=True))
        names = " and ".join(f"{name} {greatest[name]:g}" for name in limited)
        network = space.architecture(front.genomes[nearest]).id
        raise InvalidInput(
            f"no network keeps {names} together, though each can be kept alone; "
            f"the nearest is network {network} with {values}"
        )
