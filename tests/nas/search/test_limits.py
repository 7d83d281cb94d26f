"""Limits on what is measured, together with constraints, where few networks or none keep them."""

import pytest

from nas.search import upper_bound
from search_spaces import InvalidInputError
from tests.nas.search.test_search import cost, error, run


def test_limits_and_constraints_on_networks_that_are_not_reached():
    def limited(**limits):
        return run(
            lambda genomes: {"error": error(genomes) + 1.0, "other": cost(genomes)},
            objectives=("error",),
            noise={"error": 0.1},
            constraints={"cost": upper_bound(cost, 12.0)},
            limits=limits,
        )

    nothing = limited(error=(0.0, 0.5))
    assert len(nothing.front) == 0
    assert len(nothing.genomes) == 60  # it goes on looking
    assert (limited(error=(0.0, 60.0)).front["cost"] <= 12).all()
    assert limited(other=(8.0, 30.0)).front["cost"].between(8, 12).all()
    with pytest.raises(InvalidInputError, match=r"limits are of what is measured, \['error', 'other'\], got \['eror'\]"):
        limited(eror=(0.0, 3.0))
