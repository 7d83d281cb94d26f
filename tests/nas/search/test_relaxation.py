import numpy as np
import pytest

from nas.search import exact_front
from nas.search.relaxation import relaxed_best, repaired
from predictors import Features, RidgePredictor, linear_table
from search_spaces import InvalidInputError, cost_table
from search_spaces.costs import FactorTable


def test_expected_costs_are_those_of_drawn_networks(tiny_space, rng):
    table = cost_table(tiny_space, "size_bytes")
    shares = [rng.dirichlet(np.ones(n)) for n in tiny_space.cardinalities]
    drawn = np.column_stack([rng.choice(len(share), 20_000, p=share) for share in shares]).astype(np.int16)
    costs = table(tiny_space.canonicalize(drawn))
    assert table.expected(shares) == pytest.approx(costs.mean(), abs=5 * costs.std() / np.sqrt(len(costs)))
    gradient = table.gradient(shares)
    for gene in range(len(shares)):
        for option in range(len(shares[gene])):
            moved = [share.copy() for share in shares]
            moved[gene][option] += 1e-3
            assert gradient[gene][option] == pytest.approx((table.expected(moved) - table.expected(shares)) / 1e-3, rel=1e-6)
    with pytest.raises(InvalidInputError, match="the expectation of a cost that is a maximum is not known"):
        FactorTable(table.factors, takes_max=True).expected(shares)


@pytest.fixture
def problem(tiny_space, rng):
    features = Features(tiny_space)
    seen = features(tiny_space.sample(200, rng))
    error = linear_table(features, RidgePredictor().fit(seen, seen @ rng.normal(size=seen.shape[1])))
    return error, cost_table(tiny_space, "size_bytes")


def test_a_relaxed_network_keeps_the_budget_and_is_near_the_optimum(tiny_space, problem):
    error, cost = problem
    front = exact_front(tiny_space, {"error": error, "cost": cost}).values
    regrets = []
    for budget in np.linspace(front[:, 1].min(), front[:, 1].max(), 8)[1:]:
        genome = relaxed_best(tiny_space, error, cost, budget)
        assert cost(genome[None])[0] <= budget
        best = front[front[:, 1] <= budget, 0].min()
        regrets.append((error(genome[None])[0] - best) / np.ptp(front[:, 0]))
    assert min(regrets) >= -1e-9
    assert np.mean(regrets) < 0.1


def test_a_budget_below_everything_is_kept_by_nothing(tiny_space, problem):
    error, cost = problem
    assert relaxed_best(tiny_space, error, cost, 1.0) is None
    genome = tiny_space.sample(1, np.random.default_rng(0))[0]
    assert repaired(tiny_space, genome, error, cost, 1.0) is None
