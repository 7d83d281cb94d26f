import numpy as np
import pytest
from pymoo.core.population import Population

from nas.search import at_most, evolve, search
from nas.search.acquisition import choose_by_gain
from nas.search.operators import HashDuplicates, RandomReset, SwapGenes
from search_spaces import Choice, InvalidInput, TabularSpace, cost_table
from search_spaces.baselines import baselines

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
    front = evolve(SPACE, {"error": error}, {"cost": at_most(cost, 10.0)}, population=40, generations=40, rng=rng)
    assert (cost(front.genomes) <= 10).all()
    everything = np.indices((4,) * 6).reshape(6, -1).T.astype(np.int16)
    assert front.values[0, 0] == error(everything)[cost(everything) <= 10].min()


def test_infeasible_constraints_are_explained(rng):
    constraints = {"cost": at_most(cost, -2.0), "error": at_most(error, 1e9)}
    with pytest.raises(InvalidInput, match="no network satisfies the constraints: 'cost' is missed by 2 at the least"):
        evolve(SPACE, {"error": error}, constraints, population=10, generations=5, rng=rng)
    together = {"cost": at_most(cost, 0.0), "error": at_most(error, 0.0)}
    with pytest.raises(InvalidInput, match="'cost', 'error' together, though each can be satisfied alone"):
        evolve(SPACE, {"error": error, "cost": cost}, together, population=40, generations=40, rng=rng)


def test_bad_settings_are_named(rng):
    with pytest.raises(InvalidInput, match="needs at least one objective"):
        evolve(SPACE, {}, population=10, generations=5, rng=rng)
    with pytest.raises(InvalidInput, match="population must be 2 or more and generations 1 or more, got 1 and 5"):
        evolve(SPACE, {"e": error}, population=1, generations=5, rng=rng)


def test_mutation_changes_one_gene_in_the_mean(rng):
    space = TabularSpace([Choice("a", (0, 1)), Choice("b", (0, 1, 2)), Choice("fixed", (7,)), Choice("c", (0, 1, 2, 3))])
    genomes = space.sample(4000, rng)
    changed = RandomReset(space)._do(None, genomes, random_state=rng)
    n_changed = (changed != genomes).sum(axis=1)
    assert n_changed.mean() == pytest.approx(1, abs=0.05)
    assert (changed < space.cardinalities).all()
    assert (changed[:, 2] == 0).all()


def test_crossover_swaps_a_few_genes_and_loses_none(rng):
    parents = np.stack([np.zeros((2000, 40), np.int16), np.ones((2000, 40), np.int16)])
    children = SwapGenes()._do(None, parents, random_state=rng)
    assert (children.sum(axis=0) == 1).all()
    assert children[0].mean() == pytest.approx(0.15, abs=0.01)


def test_duplicates_are_told_by_content():
    pop = Population.new("X", np.array([[1, 2], [1, 2], [2, 1]]))
    other = Population.new("X", np.array([[2, 1]]))
    assert HashDuplicates().do(pop, other).get("X").tolist() == [[1, 2]]


class Memory:
    def __init__(self):
        self.known = {}

    def lookup(self, genomes):
        return [self.known.get(genome.tobytes()) for genome in genomes]

    def add(self, genomes, values):
        for i, genome in enumerate(genomes):
            self.known[genome.tobytes()] = {name: float(y[i]) for name, y in values.items()}


def run(measure, seed=1, n=60, archive=None, **settings):
    rng = np.random.default_rng(seed)
    return search(SPACE, measure, cheap={"cost": cost}, n_measurements=n, rng=rng, archive=archive, **settings)


def test_search_beats_random_and_measures_what_it_returns():
    calls = []

    def measure(genomes):
        calls.extend(genome.tobytes() for genome in genomes)
        return {"error": error(genomes)}

    result = run(measure)
    assert len(calls) == len(set(calls)) == len(result.archive) == 60
    measured = {tuple(row) for row in result.archive[["error", "cost"]].to_numpy()}
    assert {tuple(row) for row in result.front[["error", "cost"]].to_numpy()} <= measured
    truth = set(true_front())
    found = {tuple(row) for row in result.front[["error", "cost"]].to_numpy()}
    random = SPACE.sample(60, np.random.default_rng(0))
    by_chance = set(zip(error(random), cost(random), strict=True))
    assert len(found & truth) > 3 * len(by_chance & truth)
    assert list(result.archive.columns) == [*(f"c{i}" for i in range(6)), "error", "cost"]
    assert result.quality["error"].tau > 0.5


def test_baselines_are_always_measured():
    result = run(lambda genomes: {"error": error(genomes)}, n=12)
    rows = {genome.tobytes() for genome in result.genomes}
    assert all(genome.tobytes() in rows for genome in baselines(SPACE).values())


def test_interrupted_search_goes_on_and_measures_nothing_twice():
    memory, measured = Memory(), []

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
    limited = run(lambda genomes: {"error": error(genomes)}, constraints={"cost": at_most(cost, 12.0)})
    assert (limited.front["cost"] <= 12).all()
    tiny = TabularSpace([Choice("a", (0, 1, 2))])
    result = search(tiny, lambda g: {"error": g[:, 0] * 1.0}, n_measurements=50, rng=np.random.default_rng(0))
    assert len(result.archive) == 3
    assert result.front["error"].tolist() == [0.0]


def test_bad_measurements_are_named():
    with pytest.raises(InvalidInput, match="n_measurements must be 4 or more, got 3"):
        run(lambda genomes: {"error": error(genomes)}, n=3)
    with pytest.raises(InvalidInput, match="unknown predictor 'rigde' .did you mean 'ridge'"):
        run(lambda genomes: {"error": error(genomes)}, predictors="rigde")
    with pytest.raises(InvalidInput, match="measured objectives must be finite numbers, got {'error': nan}"):
        run(lambda genomes: {"error": np.full(len(genomes), np.nan)})
    with pytest.raises(InvalidInput, match=r"the objectives \['cost'\] are both measured and given as cheap"):
        run(lambda genomes: {"cost": error(genomes)})


def test_hypervolume_gain_prefers_what_adds_most():
    there = np.array([[0.0, 10.0], [10.0, 0.0]])
    candidates = np.array([[9.0, 9.0], [2.0, 2.0], [11.0, 11.0], [2.1, 2.1]])
    assert choose_by_gain(candidates, there, 2) == [1, 3]
    assert choose_by_gain(candidates, there, 9)[0] == 1
    assert sorted(choose_by_gain(candidates, there, 9)) == [0, 1, 2, 3]
