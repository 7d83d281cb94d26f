import numpy as np
import pytest

from nas.training.samplers import SAMPLERS, Around, Moment, draw_graphs
from search_spaces import InvalidInputError, cost_table
from search_spaces.space.baselines import format_genes


@pytest.fixture
def around(tiny_space):
    front = tiny_space.sample(6, np.random.default_rng(5))
    cost = cost_table(tiny_space, "macs")
    return Around(front, lambda genomes: -cost(genomes), cost)


def shapes(space, genomes):
    """Genomes without their formats, as a set."""
    free = np.setdiff1d(np.arange(len(space.choices)), format_genes(space))
    return {row.tobytes() for row in genomes[:, free]}


@pytest.mark.parametrize("name", list(SAMPLERS))
@pytest.mark.parametrize("epoch", [0.0, 6.1, 8.9])
def test_every_sampler_draws_canonical_networks_in_trained_formats(tiny_space, make_schedule, around, rng, name, epoch):
    moment = Moment(tiny_space, make_schedule(n_random=3), epoch, around)
    genomes = SAMPLERS.build(name).draw(moment, rng)
    assert (tiny_space.canonicalize(genomes) == genomes).all()
    trained = moment.formats
    for gene in format_genes(tiny_space):
        options = tiny_space.choices[gene].options
        active = tiny_space.mask(genomes)[:, gene]
        assert {options[i] for i in genomes[active, gene]} <= set(trained)
    again = SAMPLERS.build(name).draw(moment, np.random.default_rng(0))
    assert (again == SAMPLERS.build(name).draw(moment, np.random.default_rng(0))).all()


def test_the_front_is_drawn_with_its_neighbours(tiny_space, make_schedule, around, rng):
    moment = Moment(tiny_space, make_schedule(n_random=60), 0.0, around)
    alone = SAMPLERS.build("front", {"neighbours": 0.0}).draw(moment, rng)
    assert shapes(tiny_space, alone) == shapes(tiny_space, around.front)
    beside = SAMPLERS.build("front", {"neighbours": 1.0, "changes": 2.0}).draw(moment, rng)
    assert len(shapes(tiny_space, beside) - shapes(tiny_space, around.front)) > 5
    costs = around.cost(alone)
    assert (np.diff(costs) <= 0).all()  # the first, which teaches, is the largest


def test_half_of_the_front_keeps_its_formats(tiny_space, make_schedule, around, rng):
    moment = Moment(tiny_space, make_schedule(n_random=64), 8.9, around)
    drawn = SAMPLERS.build("front", {"neighbours": 0.0}).draw(moment, rng)
    own = {row.tobytes() for row in around.front}
    assert 0.4 < np.mean([row.tobytes() in own for row in drawn]) < 0.9


def test_corners_stand_in_their_share_of_the_steps(tiny_space, make_schedule, around, rng):
    for name in ("sandwich", "front", "pareto"):
        moment = Moment(tiny_space, make_schedule(n_random=1), 0.0, around)
        sampler = SAMPLERS.build(name, {"corners": 0.3})
        steps = [sampler.draw(moment, rng) for _ in range(300)]
        assert {len(step) for step in steps} == {3}
        share = np.mean([(step[0] == moment.largest).all() and (step[-1] == moment.smallest).all() for step in steps])
        assert 0.2 < share < 0.45, name


def test_compound_networks_have_all_sizes_at_one_level(tiny_space, make_schedule, rng):
    moment = Moment(tiny_space, make_schedule(n_random=64), 0.0)
    free = np.setdiff1d(np.arange(len(tiny_space.choices)), format_genes(tiny_space))
    levels = np.floor(np.linspace(0, 0.999, 50)[:, None] * tiny_space.cardinalities).astype(np.int16)
    at_one_level = shapes(tiny_space, tiny_space.canonicalize(levels))
    for share, least, most in ((0.0, 0.0, 0.6), (0.5, 0.4, 0.9), (1.0, 1.0, 1.0)):
        drawn = SAMPLERS.build("sandwich", {"compound": share}).draw(moment, rng)[1:-1, free]
        assert least <= np.mean([row.tobytes() in at_one_level for row in drawn]) <= most, share


def test_pareto_draws_what_is_promised_most(tiny_space, make_schedule, around, rng):
    moment = Moment(tiny_space, make_schedule(n_random=6), 0.0, around)
    biased = np.concatenate([SAMPLERS.build("pareto", {"candidates": 32}).draw(moment, rng) for _ in range(30)])
    assert around.rank(biased).mean() < around.rank(tiny_space.sample(300, rng)).mean()


def test_what_needs_a_front_says_so(tiny_space, make_schedule, rng):
    with pytest.raises(InvalidInputError, match="draws around an earlier front; `hwnas specialise` gives one"):
        draw_graphs(SAMPLERS.build("front"), Moment(tiny_space, make_schedule(), 0.0), rng)
    with pytest.raises(InvalidInputError, match="sampler 'sandwich' has no option 'corner' .did you mean 'corners'"):
        SAMPLERS.build("sandwich", {"corner": 1})
