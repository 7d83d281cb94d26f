import numpy as np
import pytest

from nas.search import best_within
from nas.search.evolution.evolve import upper_bound
from nas.search.exact import exact_front
from nas.search.state import SearchState
from nas.search.strategies.sums import programmed_members
from search_spaces import Choice, InvalidInputError, SearchSpace, TabularSpace, cost_table
from search_spaces.costs import FactorTable
from search_spaces.space.choice import ActiveWhen
from search_spaces.space.factor import Factor


def spaces():
    yield TabularSpace([Choice(f"c{i}", tuple(range(2 + i % 3))) for i in range(6)])
    choices = [Choice("depth", (1, 2, 3)), *(Choice(f"c{i}", (0, 1, 2)) for i in range(4))]
    yield SearchSpace(
        "conditional", choices, conditions={"c1": ActiveWhen("depth", (2, 3)), "c2": ActiveWhen("depth", (3,))}
    )


def table(space, rng):
    factors = [Factor((), np.array(2.0))]
    for start in range(len(space.choices)):
        genes = tuple(range(start, min(start + rng.integers(1, 4), len(space.choices))))
        factors.append(Factor(genes, rng.normal(size=[int(space.cardinalities[g]) for g in genes])))
    return FactorTable(tuple(factors), constant=float(rng.normal()))


@pytest.mark.parametrize("space", list(spaces()), ids=["plain", "conditional"])
@pytest.mark.parametrize("n_limits", [0, 1, 3])
def test_it_is_what_trying_everything_finds(space, n_limits):
    every = np.indices(tuple(space.cardinalities.tolist())).reshape(len(space.choices), -1).T
    genomes = np.unique(space.canonicalize(every), axis=0)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        objective = table(space, rng)
        limits = {}
        for name in "abc"[:n_limits]:
            cost = table(space, rng)
            limits[name] = (cost, float(np.quantile(cost(genomes), 0.5)))
        keeps = np.all([cost(genomes) <= bound + 1e-9 for cost, bound in limits.values()] or [True], axis=0)
        keeps = np.broadcast_to(keeps, len(genomes))
        found = best_within(space, objective, limits)
        if not keeps.any():
            assert found is None
        else:
            assert objective(found[None])[0] == pytest.approx(objective(genomes[keeps]).min())
            assert (space.canonicalize(found[None])[0] == found).all()


def test_a_real_space_under_a_budget_of_bytes(tiny_space):
    macs, size = cost_table(tiny_space, "macs"), cost_table(tiny_space, "size_bytes")
    least = best_within(tiny_space, size, {})
    assert best_within(tiny_space, macs, {"size_bytes": (size, size(least[None])[0] - 1)}) is None
    negative = FactorTable(tuple(Factor(f.genes, -f.values) for f in macs.factors))
    found = best_within(tiny_space, negative, {"size_bytes": (size, 2000.0)})
    sampled = tiny_space.sample(5000, np.random.default_rng(0))
    assert size(found[None])[0] <= 2000
    assert macs(found[None])[0] >= macs(sampled[size(sampled) <= 2000]).max()


def test_small_numbers_are_told_apart(tiny_space):
    size = cost_table(tiny_space, "size_bytes")
    loss = table(tiny_space, np.random.default_rng(0))
    tiny = FactorTable(tuple(Factor(f.genes, 1e-7 * f.values) for f in loss.factors))
    limits = {"size_bytes": (size, 3000.0)}
    assert (best_within(tiny_space, tiny, limits) == best_within(tiny_space, loss, limits)).all()


def test_maxima_are_refused(tiny_space):
    macs, peak = cost_table(tiny_space, "macs"), cost_table(tiny_space, "peak_activation_bytes")
    with pytest.raises(InvalidInputError, match=r"a budget needs sums, but \['peak'\] are maxima"):
        best_within(tiny_space, macs, {"peak": (peak, 1.0)})


def test_members_within_limits_are_as_good_as_those_of_the_front(tiny_space):
    size, macs = cost_table(tiny_space, "size_bytes"), cost_table(tiny_space, "macs")
    loss = table(tiny_space, np.random.default_rng(0))
    sampled = tiny_space.sample(2000, np.random.default_rng(1))
    limit = float(np.quantile(macs(sampled), 0.2))
    state = SearchState(
        tiny_space,
        lambda genomes: {"loss": loss(genomes)},
        {"size_bytes": size},
        {"max macs": upper_bound(macs, limit)},
        None,
        budget=9,
        workers=1,
        progress=lambda *done: None,
    )
    found = programmed_members(state, loss, size)
    assert len(found) >= 5
    assert (macs(found) <= limit).all()
    best = exact_front(tiny_space, {"loss": loss, "size": size, "macs": macs}).genomes
    best = best[macs(best) <= limit]
    for genome in found:
        assert loss(genome[None])[0] == pytest.approx(loss(best[size(best) <= size(genome[None])[0] + 1e-6]).min())
    never = {"max macs": upper_bound(macs, 1.0)}
    state = SearchState(
        tiny_space, state.measure, {"size_bytes": size}, never, None, budget=9, workers=1, progress=lambda *done: None
    )
    assert programmed_members(state, loss, size).shape == (0, len(tiny_space.choices))
