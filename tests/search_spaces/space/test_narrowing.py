import numpy as np
import pytest

from search_spaces import SPACES, Choice, InvalidInputError, SearchSpace
from search_spaces.space.baselines import format_genes
from search_spaces.space.choice import ActiveWhen
from search_spaces.space.narrowing import NarrowedSpace, narrowing_factors

TIES = {
    "stage2/block2/expand_ratio": "stage2/block1/expand_ratio",
    "stage2/block3/expand_ratio": "stage2/block1/expand_ratio",
}


@pytest.fixture(scope="module")
def whole():
    return SPACES.get("mobilenet-28")()


@pytest.fixture(scope="module")
def part(whole):
    return NarrowedSpace(whole, {name: options[:2] for name, options in kept(whole).items()}, TIES)


def kept(space):
    return {choice.name: choice.options for choice in space.choices if choice.name.endswith(("width", "depth", "kernel"))}


def test_networks_keep_ids_graphs_and_options(whole, part, rng):
    genomes = part.sample(40, rng)
    wide = part.widened(genomes)
    for mine, theirs in zip(part.subnets(genomes), whole.subnets(wide), strict=True):
        assert (mine.id, mine.options) == (theirs.id, theirs.options)
        assert mine.graph.nodes == theirs.graph.nodes
        assert part.subnet_of(mine.options).id == mine.id
        assert part.subnet_from_json(mine.to_json()).id == mine.id


def test_to_the_whole_space_and_back(whole, part, rng):
    genomes = part.sample(200, rng)
    back, is_in = part.taken_in(part.widened(genomes))
    assert is_in.all()
    assert (back == genomes).all()
    drawn = whole.sample(2000, rng)
    inside, is_in = part.taken_in(drawn)
    assert (part.widened(inside) == drawn[is_in]).all()
    allowed = narrowing_factors(whole, part.kept, part.ties)
    assert (np.all([factor(drawn) for factor in allowed], axis=0) == is_in).all()


def test_a_part_has_its_own_digest_and_the_origin_of_the_whole(whole, part):
    assert part.digest != whole.digest
    assert part.origin is whole
    again = NarrowedSpace(part, {"stage1/depth": part.choices[part.gene["stage1/depth"]].options[:1]})
    assert again.origin is whole
    assert again.size < part.size < whole.size
    assert len(format_genes(part)) == len(format_genes(whole))


def test_a_leader_matters_where_any_that_it_leads_does(rng):
    choices = [Choice("depth", (1, 2, 3)), *(Choice(name, (0, 1, 2)) for name in ("a", "b"))]
    space = SearchSpace("s", choices, conditions={"a": ActiveWhen("depth", (3,)), "b": ActiveWhen("depth", (2, 3))})
    part = NarrowedSpace(space, {}, {"b": "a"})
    genomes = np.unique(part.sample(200, rng), axis=0)
    assert len(genomes) == part.size == 7
    wide = part.widened(genomes)
    assert len(np.unique(wide, axis=0)) == 7
    back, is_in = part.taken_in(wide)
    assert is_in.all()
    assert (back == genomes).all()


@pytest.mark.parametrize(
    ("kept", "ties", "message"),
    [
        ({"stage1/wdth": (16,)}, {}, "no choice called 'stage1/wdth' .did you mean 'stage1/width'"),
        ({"stage1/depth": (7,)}, {}, "keeps some of .*; it has no .7."),
        ({"stage1/depth": ()}, {}, "none is left"),
        ({}, {"stage1/depth": "nothing"}, "a tie names .'nothing'."),
        ({}, {"stage1/width": "stage1/depth"}, "tied choices need equal options"),
        ({}, {"stage1/depth": "stage2/depth"}, "decides whether other choices matter"),
        ({}, {"stage1/block2/kernel": "stage1/block1/kernel", "stage1/block3/kernel": "stage1/block2/kernel"}, "itself"),
    ],
)
def test_bad_parts_are_refused(whole, kept, ties, message):
    with pytest.raises(InvalidInputError, match=message):
        NarrowedSpace(whole, kept, ties)


def test_a_network_of_another_part_is_refused(whole, part):
    with pytest.raises(InvalidInputError, match="is not of this part of space 'mobilenet-28': it was narrowed"):
        part.subnet_of(whole.subnet(whole.cardinalities - 1).options)
