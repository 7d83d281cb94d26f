import os
import time

import numpy as np
import pytest

from nas.search import evolve, hypervolume, lower_bound, search, upper_bound
from nas.search.evolution.evolve import reference_directions
from nas.search.evolution.variation import balanced_sample, draw_children, reset_genes
from nas.search.pareto import tied
from nas.search.strategies import STRATEGIES
from nas.search.study import gained
from search_spaces import Choice, InvalidInputError, SearchSpace, TabularSpace, cost_table
from search_spaces.costs import FactorTable
from search_spaces.errors import MeasurementError
from search_spaces.space.baselines import baselines
from search_spaces.space.choice import ActiveWhen
from search_spaces.space.factor import Factor

SPACE = TabularSpace([Choice(f"c{i}", tuple(range(4))) for i in range(6)])
COST = np.array([1.0, 2.0, 3.0, 1.0, 2.0, 3.0])


def cost(genomes):
    return genomes @ COST


def error(genomes):
    return ((3 - genomes) ** 2) @ COST[::-1]


def true_front():
    everything = np.indices((4,) * 6).reshape(6, -1).T.astype(np.int16)
    values = np.column_stack([error(everything), cost(everything)])
    best = values[np.lexsort(values.T)]
    kept, least = [], np.inf
    for row in best[np.lexsort((best[:, 1], best[:, 0]))]:
        if row[1] < least:
            kept.append(tuple(row))
            least = row[1]
    return kept


def test_evolve_finds_the_true_front(rng):
    front = evolve(SPACE, {"error": error, "cost": cost}, population=60, generations=60, rng=rng)
    found = sorted({tuple(row) for row in front.values})
    truth = true_front()
    assert front.names == ("error", "cost")
    assert len(set(found) & set(truth)) >= 0.9 * len(truth)


def test_same_seed_same_front(tiny_space, make_table):
    table = make_table(tiny_space).factor_table(tiny_space)
    objectives = {"latency_ms": table, "negative_macs": lambda g: -cost_table(tiny_space, "macs")(g)}
    fronts = [evolve(tiny_space, objectives, population=30, generations=15, rng=np.random.default_rng(5)) for _ in range(2)]
    assert (fronts[0].genomes == fronts[1].genomes).all()
    assert (fronts[0].values == fronts[1].values).all()


def test_constraints_hold_on_the_front(rng):
    front = evolve(SPACE, {"error": error}, {"cost": upper_bound(cost, 10.0)}, population=40, generations=40, rng=rng)
    assert (cost(front.genomes) <= 10).all()
    everything = np.indices((4,) * 6).reshape(6, -1).T.astype(np.int16)
    assert front.values[0, 0] == error(everything)[cost(everything) <= 10].min()


def test_infeasible_constraints_are_explained(rng):
    constraints = {"cost": upper_bound(cost, -2.0), "error": upper_bound(error, 1e9)}
    with pytest.raises(InvalidInputError, match="no network satisfies the constraints: 'cost' is missed by 2 at the least"):
        evolve(SPACE, {"error": error}, constraints, population=10, generations=5, rng=rng)
    together = {"cost": upper_bound(cost, 0.0), "error": upper_bound(error, 0.0)}
    with pytest.raises(InvalidInputError, match="'cost', 'error' together, though each can be satisfied alone"):
        evolve(SPACE, {"error": error, "cost": cost}, together, population=40, generations=40, rng=rng)


def test_bad_settings_are_named(rng):
    with pytest.raises(InvalidInputError, match="needs at least one objective"):
        evolve(SPACE, {}, population=10, generations=5, rng=rng)
    with pytest.raises(InvalidInputError, match="population must be 2 or more and generations 1 or more, got 1 and 5"):
        evolve(SPACE, {"e": error}, population=1, generations=5, rng=rng)


def test_mutation_changes_at_least_one_gene_and_hardly_more(rng):
    space = TabularSpace([Choice("a", (0, 1)), Choice("b", (0, 1, 2)), Choice("fixed", (7,)), Choice("c", (0, 1, 2, 3))])
    genomes = space.sample(4000, rng)
    changed = reset_genes(space, genomes, rng)
    n_changed = (changed != genomes).sum(axis=1)
    assert n_changed.min() == 1
    assert n_changed.mean() == pytest.approx(1 + (2 / 3) ** 3, abs=0.05)
    assert (changed < space.cardinalities).all()
    assert (changed[:, 2] == 0).all()


def test_children_have_parents_that_are_neighbours(rng):
    space = TabularSpace([Choice(f"c{i}", tuple(range(100))) for i in range(40)])
    genomes = np.repeat(np.arange(100, dtype=np.int16)[:, None], 40, axis=1)  # parent i has i everywhere
    values = np.column_stack([np.arange(100.0), -np.arange(100.0)])
    children = draw_children(space, genomes, values, rng.permutation(100), 500, rng)
    ordered = np.sort(children, axis=1)
    assert (ordered[:, 30] - ordered[:, 10] <= 3).all()  # all genes but the few that were reset
    assert (ordered[:, 30] > ordered[:, 10]).mean() == pytest.approx(0.5, abs=0.1)


def test_blocks_that_depth_adds_are_drawn_and_not_left_at_their_first_options(rng):
    choices = [Choice("depth", (1, 2)), *(Choice(f"c{i}", (0, 1, 2, 3)) for i in range(5))]
    space = SearchSpace("deep", choices, conditions={f"c{i}": ActiveWhen("depth", (2,)) for i in range(5)})
    shallow = np.zeros((2000, 6), np.int16)
    changed = space.canonicalize(reset_genes(space, shallow, rng))
    deep = changed[changed[:, 0] == 1]
    assert len(deep) > 100
    assert np.mean(deep[:, 1:] == 0) == pytest.approx(0.25, abs=0.05)
    parents = np.array([[0, 0, 0, 0, 0, 0], [1, 3, 3, 3, 3, 3]], np.int16)
    children = draw_children(space, parents, np.array([[0.0], [1.0]]), np.arange(2), 2000, rng)
    assert np.mean(children[children[:, 0] == 1][:, 1:] == 3) > 0.5


def test_no_network_is_evaluated_twice(rng):
    seen = []

    def counted(genomes):
        seen.extend(genome.tobytes() for genome in genomes)
        return error(genomes)

    evolve(SPACE, {"error": counted, "cost": cost}, population=30, generations=40, rng=rng)
    assert len(seen) == len(set(seen)) == 30 * 40
    small = TabularSpace([Choice("a", (0, 1, 2)), Choice("b", (0, 1))])
    done = []
    front = evolve(
        small,
        {"sum": lambda g: g.sum(axis=1).astype(float)},
        population=4,
        generations=50,
        rng=rng,
        progress=lambda n, total: done.append(n),
    )
    assert front.values.tolist() == [[0.0]]
    assert 1 < len(done) < 50  # ends when all six networks were seen


def test_three_objectives_by_reference_directions(rng):
    third = {"error": error, "cost": cost, "last": lambda g: np.abs(g[:, 0] - 1.5) + g[:, 5]}
    front = evolve(SPACE, third, population=100, generations=60, rng=rng)
    everything = np.indices((4,) * 6).reshape(6, -1).T.astype(np.int16)
    truth = np.column_stack([function(everything) for function in third.values()])
    reference = truth.max(axis=0)
    assert hypervolume(front.values, reference) >= 0.98 * hypervolume(truth, reference)
    assert len(reference_directions(3, 100)) == 91
    assert len(reference_directions(4, 2)) == 4


def test_a_balanced_sample_has_every_option_equally_often(rng):
    genomes = balanced_sample(SPACE, 40, rng)
    assert all((np.bincount(column, minlength=4) == 10).all() for column in genomes.T)


class MeasurementStore:
    def __init__(self):
        self.known = {}

    def lookup(self, genomes):
        return [self.known.get(genome.tobytes()) for genome in genomes]

    def add(self, genomes, values):
        for i, genome in enumerate(genomes):
            self.known[genome.tobytes()] = {name: float(y[i]) for name, y in values.items()}


def run(measure, seed=1, n=60, archive=None, **settings):
    rng = np.random.default_rng(seed)
    if settings.get("strategy", "predictor") == "predictor":
        settings = {"options": {"predictors": "gaussian_process"}, **settings}
    return search(SPACE, measure, cheap={"cost": cost}, n_measurements=n, rng=rng, archive=archive, **settings)


def test_search_beats_random_and_measures_what_it_returns():
    calls = []

    def measure(genomes):
        calls.extend(genome.tobytes() for genome in genomes)
        return {"error": error(genomes)}

    result = run(measure, options={})
    assert len(calls) == len(set(calls)) == len(result.archive) == 60
    measured = {tuple(row) for row in result.archive[["error", "cost"]].to_numpy()}
    assert {tuple(row) for row in result.front[["error", "cost"]].to_numpy()} <= measured
    truth = set(true_front())
    found = {tuple(row) for row in result.front[["error", "cost"]].to_numpy()}
    random = SPACE.sample(60, np.random.default_rng(0))
    by_chance = set(zip(error(random), cost(random), strict=True))
    assert len(found & truth) > 3 * len(by_chance & truth)
    assert list(result.archive.columns) == [*(f"c{i}" for i in range(6)), "error", "cost"]
    assert set(result.predictors) == {"error"}


def test_baselines_are_always_measured():
    result = run(lambda genomes: {"error": error(genomes)}, n=12)
    rows = {genome.tobytes() for genome in result.genomes}
    assert all(genome.tobytes() in rows for genome in baselines(SPACE).values())


def test_interrupted_search_goes_on_and_measures_nothing_twice():
    memory, measured = MeasurementStore(), []

    def measure(genomes):
        if len(measured) == 25:
            measured.append(None)
            raise KeyboardInterrupt
        measured.append(genomes.tobytes())
        return {"error": error(genomes)}

    with pytest.raises(KeyboardInterrupt):
        run(measure, archive=memory)
    resumed = run(measure, archive=memory)
    whole = run(lambda genomes: {"error": error(genomes)})
    names = [name for name in measured if name is not None]
    assert len(names) == len(set(names)) == 60
    assert resumed.front.equals(whole.front)
    assert (resumed.genomes == whole.genomes).all()


def test_same_seed_same_search_with_a_fixed_table(tiny_space, make_table):
    table, macs = make_table(tiny_space).factor_table(tiny_space), cost_table(tiny_space, "macs")
    results = [
        search(
            tiny_space,
            lambda genomes: {"error": 1e6 / macs(genomes)},
            cheap={"latency_ms": table},
            n_measurements=40,
            rng=np.random.default_rng(3),
        )
        for _ in range(2)
    ]
    assert results[0].front.equals(results[1].front)
    assert (results[0].genomes == results[1].genomes).all()


def test_search_keeps_constraints_and_small_spaces():
    limited = run(lambda genomes: {"error": error(genomes)}, constraints={"cost": upper_bound(cost, 12.0)})
    assert (limited.front["cost"] <= 12).all()
    tiny = TabularSpace([Choice("a", (0, 1, 2))])
    result = search(tiny, lambda g: {"error": g[:, 0] * 1.0}, n_measurements=50, rng=np.random.default_rng(0))
    assert len(result.archive) == 3
    assert result.front["error"].tolist() == [0.0]


def test_bad_measurements_are_named():
    with pytest.raises(InvalidInputError, match="n_measurements must be 4 or more, got 3"):
        run(lambda genomes: {"error": error(genomes)}, n=3)
    with pytest.raises(InvalidInputError, match="unknown predictor 'rigde' .did you mean 'ridge'"):
        run(lambda genomes: {"error": error(genomes)}, options={"predictors": "rigde"})
    with pytest.raises(MeasurementError, match="10 of 10 measurements failed: they gave no finite numbers"):
        run(lambda genomes: {"error": np.full(len(genomes), np.nan)})
    with pytest.raises(InvalidInputError, match=r"the objectives \['cost'\] are both measured and given as cheap"):
        run(lambda genomes: {"cost": error(genomes)})


@pytest.mark.parametrize("strategy", list(STRATEGIES))
class TestStrategies:
    """Every registered strategy, with one measured and one cheap objective."""

    TABLE = FactorTable(tuple(Factor((i,), weight * np.arange(4.0)) for i, weight in enumerate(COST)))

    def budget(self, strategy):
        return 16 if strategy == "gp" else 40  # every question to it takes a second

    def search(self, strategy, seed=1, share=1.0, archive=None, **settings):
        rng = np.random.default_rng(seed)
        settings = {"cheap": {"cost": self.TABLE}, "archive": archive, **settings}
        return search(
            SPACE,
            lambda g: {"error": error(g)},
            n_measurements=round(share * self.budget(strategy)),
            strategy=strategy,
            options={"predictors": "ridge"} if strategy == "predictor" else {},
            rng=rng,
            **settings,
        )

    def test_measures_distinct_networks_and_goes_on_where_it_was(self, strategy):
        memory = MeasurementStore()
        self.search(strategy, share=0.625, archive=memory)
        memory.known = dict(list(memory.known.items())[: self.budget(strategy) // 2])
        whole, again = self.search(strategy), self.search(strategy, archive=memory)
        assert len({genome.tobytes() for genome in whole.genomes}) == len(whole.archive) == self.budget(strategy)
        assert (whole.genomes == again.genomes).all()
        assert whole.front.equals(again.front)

    def test_keeps_constraints_but_for_the_baselines(self, strategy):
        result = self.search(strategy, constraints={"cost": upper_bound(self.TABLE, 12.0)})
        seeds = {genome.tobytes() for genome in baselines(SPACE).values()}
        assert all(cost(genome[None])[0] <= 12 for genome in result.genomes if genome.tobytes() not in seeds)
        assert (result.front["cost"] <= 12).all()

    def test_only_what_keeps_limits_on_what_is_measured_is_on_the_front(self, strategy):
        second = FactorTable(tuple(Factor((i,), weight * np.arange(4.0)) for i, weight in enumerate(COST[::-1] ** 2)))
        for cheap in ({"cost": self.TABLE}, {"cost": self.TABLE, "second": second}):
            limits = {"error": (0.0, 15.0)}  # of the baselines the largest alone keeps it
            free, limited = (self.search(strategy, cheap=cheap, **more) for more in ({}, {"limits": limits}))
            assert (limited.front["error"] <= 15).all()
            if strategy in ("predictor", "effects", "exact"):  # their measurements go there
                assert (limited.archive["error"] <= 15).sum() >= 1.5 * (free.archive["error"] <= 15).sum()

    def test_ends_when_a_small_space_is_measured(self, strategy):
        tiny = TabularSpace([Choice("a", (0, 1, 2)), Choice("b", (0, 1, 2))])
        table = FactorTable((Factor((0,), np.arange(3.0)),))
        result = search(
            tiny,
            lambda g: {"error": 1.0 + (2 - g[:, 0]) + g[:, 1]},
            cheap={"cost": table},
            n_measurements=50,
            strategy=strategy,
            rng=np.random.default_rng(0),
        )
        assert len(result.archive) == 9
        assert result.front["error"].tolist() == [1.0, 2.0, 3.0]


def test_the_exact_strategy_says_what_it_cannot_take():
    with pytest.raises(InvalidInputError, match="needs cheap objectives that are sums of tables; 'cost' is none"):
        run(lambda genomes: {"error": error(genomes)}, strategy="exact")
    limits = {"cost": lower_bound(TestStrategies.TABLE, 3.0)}
    with pytest.raises(InvalidInputError, match="takes upper bounds on sums of tables only; 'cost' is none"):
        search(
            SPACE,
            lambda g: {"error": error(g)},
            constraints=limits,
            n_measurements=9,
            strategy="exact",
            rng=np.random.default_rng(0),
        )


def test_two_expensive_objectives_and_three_in_all():
    result = search(
        SPACE,
        lambda genomes: {"error": error(genomes), "cost": cost(genomes)},
        cheap={"last": lambda g: g[:, 5].astype(float)},
        n_measurements=50,
        rng=np.random.default_rng(0),
    )
    assert list(result.archive.columns[-3:]) == ["error", "cost", "last"]
    assert len(result.archive) == 50


def test_it_ends_when_no_more_is_gained_than_the_noise():
    flat = run(lambda genomes: {"error": 50 + 0.01 * error(genomes)}, n=400, noise={"error": 5.0})
    assert flat.stopped_early
    assert len(flat.archive) < 200
    assert not run(lambda genomes: {"error": error(genomes)}).stopped_early


def test_networks_nearer_than_the_noise_are_tied():
    front = np.array([[1.0, 5.0], [1.05, 3.0], [2.0, 1.0]])
    assert tied(front, front, np.array([0.1, 0.0])).tolist() == [True, False, False]
    assert tied(front, front, np.zeros(2)).tolist() == [False, False, False]
    assert tied(front, front, np.array([0.1, 2.5])).tolist() == [True, True, True]


def test_gains_are_counted_beyond_the_noise():
    before = np.array([[1.0, 5.0], [2.0, 1.0]])
    assert gained(before, np.vstack([before, [1.5, 3.0]]), np.array([0.1, 0.0]))
    assert not gained(before, np.vstack([before, [0.95, 5.0]]), np.array([0.1, 0.0]))
    assert not gained(before, before, np.array([0.1, 0.0]))


def slow_error(genomes):
    time.sleep(0.01)
    return {"error": error(genomes)}


def test_several_are_measured_at_once_and_the_result_is_the_same():
    alone = run(slow_error, batch=5)
    together = run(slow_error, batch=5, workers=2)
    assert (alone.genomes == together.genomes).all()
    assert alone.front.equals(together.front)


def dying(genomes):
    os.kill(os.getpid(), 9)


def test_a_worker_that_is_killed_is_named():
    with pytest.raises(MeasurementError, match="a process that measured networks was killed; .* the same command goes on"):
        run(dying, workers=2)
