"""Narrowing by score: a part's exact front is never better, and what is dropped of the front is named."""

import numpy as np
import pytest

from nas.search import exact_front
from nas.search.narrowing import n_architectures, narrow
from nas.search.pareto import Front
from predictors import Features, RidgePredictor, linear_table
from search_spaces import SPACES, cost_table
from search_spaces.space.baselines import format_genes
from search_spaces.space.narrowing import NarrowedSpace, narrowing_factors


@pytest.fixture(scope="module")
def problem():
    space = SPACES.get("mobilenet-digits")()
    rng = np.random.default_rng(3)
    genomes, cost, features = space.sample(150, rng), cost_table(space, "macs"), Features(space)
    losses = -0.2 * np.log(cost(genomes)) + features(genomes) @ rng.normal(scale=0.02, size=len(features))
    measured = Front.from_points(("rank", "cost"), genomes, np.column_stack([losses, cost(genomes)]))
    return space, linear_table(features, RidgePredictor().fit(features(genomes), losses)), cost, measured


@pytest.mark.parametrize("size", [20_000, 500, 1])
def test_a_part_is_never_better_and_what_it_lost_is_named(problem, size):
    space, rank, cost, measured = problem
    part = narrow(space, rank, cost, size, measured)
    assert 0 < part.size <= size
    narrowed = NarrowedSpace(space, part.kept, part.ties)
    assert n_architectures(narrowed) == part.size == n_architectures(space, part.kept, part.ties)
    tables = {"rank": rank, "cost": cost}
    whole = exact_front(space, tables)
    within = exact_front(space, tables, allowed=narrowing_factors(space, part.kept, part.ties))
    for row in within.values:
        assert np.any(np.all(whole.values <= row + 1e-9, axis=1))
    inside, _ = narrowed.taken_in(within.genomes)
    assert len(inside) == len(within)
    networks = np.concatenate([whole.genomes, measured.genomes])
    _, is_in = narrowed.taken_in(networks)
    dropped = {(drop.choice, drop.option) for drop, _ in part.drops if not drop.leader}
    tied = {drop.choice for drop, _ in part.drops if drop.leader}
    for subnet in space.subnets(networks[~is_in]):
        assert dropped & set(subnet.options.items()) or tied & set(subnet.options)
    assert all(loss > -1e-9 for _, loss in part.drops)
    assert 0 <= sum(loss for _, loss in part.drops) <= 1


def test_what_was_measured_counts_where_predictions_say_nothing(problem):
    space, _, cost, measured = problem
    misleading = linear_table(
        Features(space), RidgePredictor().fit(Features(space)(measured.genomes), -measured.values[:, 0])
    )
    part = narrow(space, misleading, cost, 5_000, measured)
    _, is_in = NarrowedSpace(space, part.kept, part.ties).taken_in(measured.genomes)
    assert is_in.sum() >= 3


def test_formats_stay(problem):
    space, rank, cost, measured = problem
    part = narrow(space, rank, cost, 500, measured)
    assert not {space.choices[gene].name for gene in format_genes(space)} & {drop.choice for drop, _ in part.drops}


def test_brute_force_agrees_on_what_is_allowed(problem):
    space, rank, cost, measured = problem
    part = narrow(space, rank, cost, 500, measured)
    genomes = space.sample(3000, np.random.default_rng(0))
    _, is_in = NarrowedSpace(space, part.kept, part.ties).taken_in(genomes)
    within = exact_front(space, {"rank": rank, "cost": cost}, allowed=narrowing_factors(space, part.kept, part.ties)).values
    for row in np.column_stack([rank(genomes), cost(genomes)])[is_in]:
        assert np.any(np.all(within <= row + 1e-9, axis=1))


def test_nothing_allowed_gives_an_empty_front(problem):
    space, rank, cost, _ = problem
    allowed = narrowing_factors(space, {"stage1/depth": ()})
    assert len(exact_front(space, {"rank": rank, "cost": cost}, allowed=allowed)) == 0
