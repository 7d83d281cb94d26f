import itertools

import numpy as np
import pytest

from predictors import Features, ResidualPredictor, RidgePredictor, Signal, build_predictor, linear_table, pair_effects
from predictors.features.topology import TRAITS, CellCounts, PairCounts, checked_traits
from search_spaces import Cell, Choice, InvalidInputError, TabularSpace, cost_table

OPERATORS = ("none", "skip", "conv", "pool")
CELL = Cell({"a": (0, 1), "b": (1, 2), "c": (0, 2)}, identity=("skip",))


@pytest.fixture(scope="module")
def cells():
    return TabularSpace([Choice(name, OPERATORS) for name in CELL.edges], cell=CELL)


def genome(*options):
    return np.array([[OPERATORS.index(option) for option in options]], np.int16)


def test_a_cell_is_cut_and_seen_through():
    assert CELL.sources({"a": "conv", "b": "skip", "c": "none"}) == {"output": ("a",), "a": ("input",)}
    assert CELL.sources({"a": "conv", "b": "none", "c": "pool"}) == {"output": ("c",), "c": ("input",)}
    assert CELL.sources({"a": "none", "b": "conv", "c": "none"}) == {"output": ()}
    assert CELL.sources({"a": "conv", "b": "pool", "c": "skip"}) == {
        "output": ("input", "b"),
        "b": ("a",),
        "a": ("input",),
    }
    with pytest.raises(InvalidInputError, match="must lead from a node to a later one"):
        Cell({"a": (1, 1)})
    with pytest.raises(InvalidInputError, match=r"edges \['z'\] that are no choices"):
        TabularSpace([Choice("a", OPERATORS)], cell=Cell({"z": (0, 1)}))


def test_networks_that_are_one_cell_have_one_row_of_counts(cells):
    counts = CellCounts(cells)
    alike = counts(
        np.concatenate([genome("conv", "skip", "none"), genome("none", "pool", "conv"), genome("skip", "conv", "none")])
    )
    assert (alike == alike[0]).all()
    assert not (counts(genome("conv", "conv", "none")) == alike[0]).all()
    named = dict(zip(counts.names, alike[0], strict=True))
    assert {name for name, n in named.items() if n} == {(0, "conv"), (1, "conv < input"), (1, "output < conv")}


def test_counts_of_a_large_cell_need_no_table(cells, monkeypatch):
    whole = CellCounts(cells)
    monkeypatch.setattr("predictors.features.topology.ENUMERABLE", 10)
    drawn, genomes = CellCounts(cells), cells.sample(20, np.random.default_rng(0))
    assert drawn.names == whole.names
    assert (drawn(genomes) == whole(genomes)).all()


def test_gaussian_processes_see_the_cell_and_others_may_not(cells, rng):
    features = Features(cells)
    genomes = cells.sample(30, rng)
    seen = features(genomes)
    assert seen.shape == (30, len(features)) == (30, features.n_encoded + features.n_topology)
    assert len(features.groups) == len(features)
    model = build_predictor("gaussian_process", features).fit(seen, rng.normal(size=30))
    assert len(model.mixture(seen)[0]) == 4
    assert Features(cells, sees_cell=False).n_topology == 0
    with pytest.raises(InvalidInputError, match="counted in the cell of space 'tabular' is no sum"):
        linear_table(features, RidgePredictor().fit(seen, rng.normal(size=30)))


@pytest.mark.parametrize("trait", list(TRAITS))
def test_pairs_of_blocks_are_counted_and_stay_tables(trait, tiny_space, rng):
    genomes = np.unique(tiny_space.sample(200, rng), axis=0)
    pairs = PairCounts(tiny_space, trait)
    of_block = TRAITS.get(trait)
    for row, subnet in zip(pairs(genomes[:20]), tiny_space.subnets(genomes[:20]), strict=True):
        options = {choice.name: choice.options[gene] for choice, gene in zip(tiny_space.choices, subnet.genome, strict=True)}
        built = [tuple(slot.build({name: options[name] for name in slot.reads})) for slot in tiny_space.slots]
        traits = [of_block(block) for block in built if block]
        expected = [sum(pair == kind for pair in itertools.pairwise(traits)) for kind in pairs.kinds]
        assert row * np.sqrt(len(tiny_space.slots)) == pytest.approx(expected)
    features = Features(tiny_space, (trait,))
    seen, y = features(genomes), rng.normal(size=len(genomes))
    ridge = RidgePredictor().fit(seen, y)
    assert linear_table(features, ridge)(genomes) == pytest.approx(ridge.predict(seen))
    assert len(pairs.names) == len(pairs.kinds) == features.n_topology


def test_a_pair_that_does_harm_stands_out(tiny_space, rng):
    genomes = np.unique(tiny_space.sample(400, rng), axis=0)
    pairs = PairCounts(tiny_space, "format")
    harm = int(np.ptp(pairs(genomes), axis=0).argmax())
    y = 0.3 * np.sqrt(len(tiny_space.slots)) * pairs(genomes)[:, harm] + 0.01 * rng.normal(size=len(genomes))
    found = pair_effects(tiny_space, genomes, y)
    assert len(found) <= 10
    assert all(each.deviation > 0 for each in found)
    effects = {each.name: each.effect for each in found}
    assert effects[pairs.names[harm]] > 0.05
    assert pair_effects(TabularSpace([Choice("a", (1, 2))]), np.zeros((3, 1), np.int16), np.arange(3.0)) == []


def test_signals_weigh_as_much_as_they_say(tiny_space, rng):
    genomes = np.unique(tiny_space.sample(300, rng), axis=0)
    size = cost_table(tiny_space, "size_bytes")
    truth = np.log(size(genomes))
    noise = Signal("noise", lambda g: np.cos(g @ np.arange(1.0, g.shape[1] + 1)))
    useful = Signal("useful", lambda g: np.log(size(g)) + 0.05 * noise.values(g), slope=1.0)
    features = Features(tiny_space).with_signals((useful, noise))
    seen, few = features(genomes), np.arange(12)
    model = build_predictor("ridge", features).fit(seen[few], truth[few])
    alone = build_predictor("ridge", Features(tiny_space)).fit(seen[few, :-2], truth[few])
    error, error_alone = (np.abs(m.predict(x) - truth).mean() for m, x in ((model, seen), (alone, seen[:, :-2])))
    assert error < 0.5 * error_alone
    misleading = Signal("misleading", lambda g: -3 * np.log(size(g)), slope=1.0)
    wrong = Features(tiny_space).with_signals((misleading,))
    model = build_predictor("gaussian_process", wrong).fit(wrong(genomes[:150]), truth[:150])
    assert np.corrcoef(model.predict(wrong(genomes[150:])), truth[150:])[0, 1] > 0.9, "a misleading prior is overcome"


def test_signals_of_ones_own_are_checked(tiny_space, rng):
    genomes = tiny_space.sample(5, rng)
    for values, message in (
        (lambda g: np.zeros(3), "must give 1 numbers for each of 5 genomes, got shape"),
        (lambda g: np.full(len(g), np.nan), "gave a number that is not finite"),
        (lambda g: g.missing, "the signal 'mine' fails on genomes"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            Features(tiny_space).with_signals((Signal("mine", values),))(genomes)
    with pytest.raises(InvalidInputError, match="of 2 columns cannot estimate one quantity"):
        Signal("mine", lambda g: g[:, :2], slope=1.0, n_columns=2)
    with pytest.raises(InvalidInputError, match="has no blocks whose pairs could be counted"):
        Features(TabularSpace([Choice("a", (1, 2))]), ("format",))(np.zeros((1, 1), np.int16))
    with pytest.raises(InvalidInputError, match="traits must be a list"):
        checked_traits("format")


def test_a_mixture_has_the_mean_of_the_prediction(tiny_space, rng):
    features = Features(tiny_space)
    seen = features(tiny_space.sample(60, rng))
    model = build_predictor("ensemble", features).fit(seen[:40], seen[:40] @ rng.normal(size=seen.shape[1]))
    means, deviations = model.mixture(seen[40:])
    assert means.mean(axis=0) == pytest.approx(model.predict(seen[40:]))
    assert (deviations >= 0).all()


def test_signals_that_are_tables_go_into_a_table(tiny_space, rng):
    genomes = np.unique(tiny_space.sample(100, rng), axis=0)
    features = Features(tiny_space).with_signals((Signal("size", cost_table(tiny_space, "size_bytes"), slope=1.0),))
    seen = features(genomes)
    model = ResidualPredictor(RidgePredictor()).fit(seen, 2 * seen[:, -1] + rng.normal(size=len(seen)))
    assert linear_table(features, model)(genomes) == pytest.approx(model.predict(seen))
    other = Features(tiny_space).with_signals((Signal("macs", lambda g: g.sum(axis=1) * 1.0),))
    with pytest.raises(InvalidInputError, match="the signal 'macs' is no sum of small tables"):
        linear_table(other, model)


def test_what_is_learned_again_keeps_its_parameters(tiny_space, rng):
    features = Features(tiny_space)
    genomes = np.unique(tiny_space.sample(100, rng), axis=0)
    seen, y = features(genomes), rng.normal(size=len(genomes))
    model = build_predictor("gaussian_process", features).fit(seen[:60], y[:60])
    theta = model.members_[0].theta_
    model.refit(seen[:61], y[:61])
    assert (model.members_[0].theta_ == theta).all()
    assert model.predict(seen[60:61])[0] != y[60]
    model.refit(seen[:80], y[:80])
    assert (model.members_[0].theta_ != theta).any()
