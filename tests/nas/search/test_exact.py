import itertools

import numpy as np
import pytest

from nas.search import exact_front, hypervolume, non_dominated
from search_spaces import Choice, InvalidInputError, SearchSpace, Stage, TabularSpace, classes, cost_table, mobilenet
from search_spaces.costs import FactorTable
from search_spaces.space.choice import ActiveWhen
from search_spaces.space.factor import Factor


def all_genomes(space):
    every = np.array(list(itertools.product(*(range(c) for c in space.cardinalities))), np.int16)
    return np.unique(space.canonicalize(every), axis=0)


def random_tables(space, rng, names, integers=False):
    """Sums of factors over one to three genes each, neighbours mostly."""
    tables = {}
    for name in names:
        factors = []
        for _ in range(8):
            start = rng.integers(0, len(space.choices))
            genes = tuple(range(start, min(start + rng.integers(1, 4), len(space.choices))))
            shape = [int(space.cardinalities[g]) for g in genes]
            factors.append(Factor(genes, rng.integers(0, 5, shape).astype(float) if integers else rng.normal(size=shape)))
        tables[name] = FactorTable(tuple(factors), constant=float(rng.normal()))
    return tables


def spaces():
    yield TabularSpace([Choice(f"c{i}", tuple(range(2 + i % 3))) for i in range(7)])
    choices = [Choice("depth", (1, 2, 3)), *(Choice(f"c{i}", (0, 1, 2)) for i in range(5))]
    conditions = {"c1": ActiveWhen("depth", (2, 3)), "c2": ActiveWhen("depth", (3,)), "c4": ActiveWhen("depth", (1,))}
    yield SearchSpace("conditional", choices, conditions=conditions)


@pytest.mark.parametrize("space", list(spaces()), ids=["plain", "conditional"])
@pytest.mark.parametrize("n_objectives", [1, 2, 3])
@pytest.mark.parametrize("integers", [False, True], ids=["reals", "ties"])
def test_it_is_what_trying_everything_finds(space, n_objectives, integers):
    for seed in range(3):
        tables = random_tables(space, np.random.default_rng(seed), "abc"[:n_objectives], integers)
        genomes = all_genomes(space)
        values = np.column_stack([table(genomes) for table in tables.values()])
        true = np.unique(values[non_dominated(values)].round(9), axis=0)
        front = exact_front(space, tables)
        assert front.values.round(9).tolist() == true.tolist()
        assert (space.canonicalize(front.genomes) == front.genomes).all()
        assert np.column_stack([table(front.genomes) for table in tables.values()]) == pytest.approx(front.values)


def test_a_real_space_against_trying_everything():
    space = mobilenet(
        "small",
        input_shape=(1, 8, 8),
        outputs=classes(10),
        stem_width=8,
        stages=[Stage(depths=(1, 2), widths=(8, 12)), Stage(depths=(1,), widths=(12, 16), stride=2)],
        kernels=(3,),
        expand_ratios=(2, 3),
    )
    tables = {name: cost_table(space, name) for name in ("macs", "size_bytes")}
    genomes = all_genomes(space)
    values = np.column_stack([table(genomes) for table in tables.values()])
    assert exact_front(space, tables).values.tolist() == np.unique(values[non_dominated(values)], axis=0).tolist()


def test_three_objectives_within_a_bound(tiny_space):
    rng = np.random.default_rng(0)
    space = next(spaces())
    tables = random_tables(space, rng, "abc")
    genomes = all_genomes(space)
    values = np.column_stack([table(genomes) for table in tables.values()])
    true = values[non_dominated(values)]
    reach = (
        sum(np.ptp(f.values) for f in tables["a"].factors),
        *(sum(np.ptp(f.values) for f in tables[name].factors) for name in "bc"),
    )
    front = exact_front(space, tables, tolerance=0.02)
    assert len(front) <= len(true)
    assert len(exact_front(space, tables, tolerance=0.5)) < len(true)
    worse = (front.values[None] - true[:, None]) / np.array(reach)
    assert worse.max(axis=2).min(axis=1).max() <= 0.02
    reference = true.max(axis=0) + 1
    assert hypervolume(front.values, reference) >= 0.98 * hypervolume(true, reference)


def test_bad_input_is_refused(tiny_space):
    with pytest.raises(InvalidInputError, match="at least one objective"):
        exact_front(tiny_space, {})
    with pytest.raises(InvalidInputError, match=r"needs sums, but \['peak'\] are maxima"):
        exact_front(tiny_space, {"peak": cost_table(tiny_space, "peak_activation_bytes")})
    with pytest.raises(InvalidInputError, match="tolerance must be in 0..1, got -1"):
        exact_front(tiny_space, {"macs": cost_table(tiny_space, "macs")}, tolerance=-1)
