"""Feasibility of constraints, checked before anything is trained; and if nothing satisfies them, the reason."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.objectives.objective import Objective
from nas.search.evolution.evolve import lower_bound, upper_bound
from nas.search.exact import TooLargeError, exact_front
from nas.search.milp import best_within
from search_spaces.costs import FactorTable
from search_spaces.errors import InvalidInputError
from search_spaces.space.space import SearchSpace

TOLERANCE = 1e-3  # of each cost's range, for three constraints and more


def check_feasible(
    space: SearchSpace,
    tables: Mapping[str, FactorTable],
    upper: Mapping[str, float],
    lower: Mapping[str, float] | None = None,
) -> None:
    """Make sure that some network satisfies all constraints at once.

    Exact for any number of constraints; with three and more, the network that is named as the nearest may be beaten by 0.1 %
    of a cost's range.

    Args:
        space: The space.
        tables: Additive costs by name; constraints on others are not looked at.
        upper: Upper bounds by name.
        lower: Lower bounds by name.

    Raises:
        InvalidInputError: If none does: with the constraints that cannot be satisfied even alone and the nearest value of
            each; or else the network that comes nearest to keeping all of them.
    """
    constraints = [_Bound(name, tables[name], bound, 1) for name, bound in upper.items() if name in tables]
    constraints += [_Bound(name, tables[name], bound, -1) for name, bound in (lower or {}).items() if name in tables]
    alone = [text for bound in constraints if (text := bound.out_of_reach(space))]
    if alone:
        raise InvalidInputError(f"no network satisfies the constraints: {'; '.join(alone)}")
    if len(constraints) < 2:
        return
    if len(constraints) > 2:
        bounds = {f"{bound.sign} {bound.name}": (bound.signed, bound.sign * bound.bound) for bound in constraints}
        if best_within(space, constraints[0].signed, bounds) is not None:
            return
    signed = {f"{bound.sign} {bound.name}": bound.signed for bound in constraints}
    try:
        front = exact_front(space, signed, tolerance=TOLERANCE if len(constraints) > 2 else 0.0)
    except TooLargeError:  # the search will see
        return
    broken = [bound.excess(values) for bound, values in zip(constraints, front.values.T, strict=True)]
    excess = np.column_stack(broken).max(axis=1)
    nearest = int(excess.argmin())
    if excess[nearest] > 0:
        values = ", ".join(f"{x.name} {x.sign * v:.6g}" for x, v in zip(constraints, front.values[nearest], strict=True))
        network = space.subnet(front.genomes[nearest]).id
        raise InvalidInputError(
            f"no network satisfies {' and '.join(map(str, constraints))} together, though each can be satisfied alone; "
            f"the nearest is network {network} with {values}"
        )


def constraints_of(
    costs: Mapping[str, Objective], upper: Mapping[str, float], lower: Mapping[str, float]
) -> dict[str, Objective]:
    """Return limits on costs as a search takes them: by name, values that must be 0 or less; limits on others are none."""
    found: dict[str, Objective] = {f"max {name}": upper_bound(costs[name], x) for name, x in upper.items() if name in costs}
    return found | {f"min {name}": lower_bound(costs[name], x) for name, x in lower.items() if name in costs}


@dataclass(frozen=True)
class _Bound:
    """An upper limit (sign 1) or a lower one (sign -1) on an additive cost."""

    name: str
    table: FactorTable
    bound: float
    sign: int

    def __str__(self) -> str:
        return f"{self.name} {'at least ' if self.sign < 0 else ''}{self.bound:g}"

    @property
    def signed(self) -> FactorTable:
        """The cost with the sign that makes the limit an upper one."""
        return self.table if self.sign > 0 else -self.table

    def excess(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return by what share of the limit signed values break it, 0 or less if they do not."""
        return (values - self.sign * self.bound) / max(abs(self.bound), 1e-12)

    def out_of_reach(self, space: SearchSpace) -> str:
        """Say what can be reached, if the limit cannot be satisfied even alone; otherwise nothing."""
        front = exact_front(space, {self.name: self.signed})
        if self.excess(front.values[:1, 0])[0] <= 0:
            return ""
        reached, network = self.sign * front.values[0, 0], space.subnet(front.genomes[0]).id
        end = "least" if self.sign > 0 else "most"
        return f"{self.name} is at {end} {reached:.6g}, by network {network}, not {self.bound:g}"
