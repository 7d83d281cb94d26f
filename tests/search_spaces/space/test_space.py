import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import SPACES, ActiveWhen, Choice, InvalidInputError, SearchSpace, Stage, TabularSpace, classes, mobilenet


def all_genomes(space: SearchSpace) -> np.ndarray:
    return np.array(list(itertools.product(*(range(n) for n in space.cardinalities))), dtype=np.int16)


@pytest.fixture(scope="module")
def small() -> SearchSpace:
    stages = (Stage(depths=(1, 2), widths=(4,)), Stage(depths=(1, 2), widths=(4, 6), stride=2))
    return mobilenet(
        "small",
        input_shape=(1, 6, 6),
        outputs=classes(2),
        stem_width=4,
        stages=stages,
        kernels=(3,),
        expand_ratios=(1, 2),
        formats=("float32", "w8a8"),
    )


def test_size_equals_brute_force(small):
    distinct = np.unique(small.canonicalize(all_genomes(small)), axis=0)
    assert small.size == len(distinct) == ((4 + 16) * 1) * ((4 + 16) * 2)


def test_genomes_are_equal_exactly_when_graphs_are(small):
    distinct = np.unique(small.canonicalize(all_genomes(small)), axis=0)
    graphs = {small.subnet(genome).graph for genome in distinct}
    assert len(graphs) == len(distinct)
    some = all_genomes(small)[::37]
    for genome, canonical in zip(some, small.canonicalize(some), strict=True):
        assert small.subnet(genome).graph == small.subnet(canonical).graph


@given(seed=st.integers(0, 2**32 - 1))
def test_canonical_genomes_stay_and_survive_json(seed):
    space = SPACES.get("mobilenet-digits")()
    genomes = space.sample(20, np.random.default_rng(seed))
    assert genomes.dtype == np.int16
    assert (space.canonicalize(genomes) == genomes).all()
    for genome in genomes:
        subnet = space.subnet_from_json(space.subnet(genome).to_json())
        assert subnet == space.subnet(genome)
        assert (subnet.genome == genome).all()


def test_id_is_stable_across_processes_and_versions():
    space = SPACES.get("mobilenet-digits")()
    zero = np.zeros(len(space.choices), np.int16)
    assert space.subnet(zero).id == "e4d24af03f"


def test_digits_preset_is_large_and_cheap_to_measure():
    from latency_tables.table.latency_model import iterate_parts

    space = SPACES.get("mobilenet-digits")()
    assert space.size == 312 * 3768 * 3768 >= 10**9
    assert sum(1 for _ in iterate_parts(space)) <= 250


def test_sampling_is_uniform_for_each_gene(rng):
    space = TabularSpace([Choice("a", (1, 2, 3)), Choice("b", (0, 1))])
    counts = np.bincount(space.sample(6000, rng)[:, 0])
    assert (np.abs(counts - 2000) < 200).all()


def test_every_active_slot_arrives_exactly_once(small, rng):
    genomes = small.sample(50, rng)
    arrivals = np.array([[value is not None for value in factor(genomes)] for factor in small.incoming])
    for i, genome in enumerate(genomes):
        assert arrivals[:, i].sum() == len(small.subnet(genome).assembly.blocks)


def test_the_digest_is_of_the_content():
    def space(**changes):
        stages = (Stage(depths=(1, 2), widths=(8, 16)),)
        settings = {"input_shape": (1, 8, 8), "outputs": classes(10), "stem_width": 8, "stages": stages, "kernels": (3, 5)}
        return mobilenet("own", **(settings | {"expand_ratios": (1, 2)} | changes))

    assert space().digest == space().digest
    changes = ({"outputs": classes(5)}, {"input_shape": (1, 9, 8)}, {"kernels": (3, 7)}, {"formats": ("float32", "w8a8")})
    changes += ({"expand_ratios": (1, 3)}, {"stem_width": 9}, {"stages": (Stage(depths=(2,), widths=(8, 16)),)})
    assert len({space().digest, *(space(**change).digest for change in changes)}) == 1 + len(changes)
    a, b = Choice("a", (1, 2)), Choice("b", (1, 2))
    conditional = SearchSpace("s", [a, b], conditions={"b": ActiveWhen("a", (1,))})
    assert len({SearchSpace("s", [a, b]).digest, SearchSpace("s", [b, a]).digest, conditional.digest}) == 3


def test_bad_genomes_and_architectures_are_named(small):
    zero = np.zeros((1, len(small.choices)), np.int16)
    with pytest.raises(InvalidInputError, match=r"genomes of space 'small' have shape \(n, 16\), got \(1, 3\)"):
        small.canonicalize(zero[:, :3])
    zero[0, 0] = 5
    with pytest.raises(InvalidInputError, match=r"gene 'stage1/depth' must be in 0..1, got 5 in row 0"):
        small.canonicalize(zero)
    good = small.subnet(np.zeros(16, np.int16))
    with pytest.raises(InvalidInputError, match="of space 'other', this is space 'small'"):
        small.subnet_from_json(good.to_json().replace("small", "other"))
    with pytest.raises(InvalidInputError, match="lacks the choices"):
        small.subnet_of(dict(list(good.options.items())[1:]))
    with pytest.raises(InvalidInputError, match=r"choice 'stage1/depth' must be one of \[1, 2\], got 9"):
        small.subnet_of({**good.options, "stage1/depth": 9})
    with pytest.raises(InvalidInputError, match=r"has no choice called \['colour'\]"):
        small.subnet_of({**good.options, "colour": 1})
    for text in ("{", "[]", '{"space": "x"}'):
        with pytest.raises(InvalidInputError, match="a subnet is JSON of the form"):
            small.subnet_from_json(text)


def test_space_refuses_unknown_and_nested_names():
    a, b, c = Choice("a", (1, 2)), Choice("b", (1, 2)), Choice("c", (1, 2))
    with pytest.raises(InvalidInputError, match="need distinct names"):
        SearchSpace("s", [a, a])
    with pytest.raises(InvalidInputError, match=r"has no choice called \['z'\]"):
        SearchSpace("s", [a], conditions={"a": ActiveWhen("z", (1,))})
    with pytest.raises(InvalidInputError, match="a condition must name a choice that always matters"):
        SearchSpace("s", [a, b, c], conditions={"b": ActiveWhen("a", (1,)), "c": ActiveWhen("b", (1,))})
    with pytest.raises(InvalidInputError, match="choices only and no networks"):
        _ = TabularSpace([a]).subnet(np.zeros(1, np.int16)).graph


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stages": ()}, "needs at least one stage"),
        ({"kernels": (3, 4)}, r"kernels must be odd, got \[4\]"),
        ({"formats": ("w9a9",)}, "a format is 'float32', 'wNaM' with .*; got 'w9a9'"),
    ],
)
def test_mobilenet_refuses_what_is_no_network(settings, message):
    good = {"input_shape": (1, 8, 8), "outputs": classes(10), "stem_width": 4, "stages": (Stage(depths=(1,), widths=(4,)),)}
    with pytest.raises(InvalidInputError, match=message):
        mobilenet("x", **(good | settings))
