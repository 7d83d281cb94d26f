"""What a predictor learns of networks that lie beyond a limit on what is measured."""

import numpy as np

from nas.search.state import SearchState
from nas.search.strategies.predictor import Surrogate
from predictors import Features, RidgePredictor
from search_spaces import Choice, TabularSpace

SPACE = TabularSpace([Choice(f"c{i}", tuple(range(6))) for i in range(3)])


def error(genomes):
    return np.exp(0.5 * genomes[:, 0] + 0.1 * genomes[:, 1])


def surrogate(genomes, y, limits):
    state = SearchState(
        SPACE, lambda g: {"error": y[[genomes.tolist().index(row) for row in g.tolist()]]}, {}, {}, None, 500, 1,
        lambda *_: None, limits=limits,
    )  # fmt: skip
    state.measure(genomes)
    return Surrogate(Features(SPACE, sees_cell=False), RidgePredictor(), state, "error")


def test_how_bad_networks_are_that_are_of_no_interest_is_not_learned(rng):
    genomes = np.unique(SPACE.sample(80, rng), axis=0)
    far = genomes[:, 0] + genomes[:, 2] >= 7  # as networks that fall apart: no sum says so
    y = np.where(far, 1000 * error(genomes), error(genomes))
    plain, limited = surrogate(genomes, y, {}), surrogate(genomes, y, {"error": (0.0, 3.0)})

    def off(model):
        return float(np.abs(model(genomes[~far]) - np.log(y[~far])).mean())

    assert off(limited) < 0.5 * off(plain)
    assert limited(genomes[far]).min() > limited(genomes[~far]).mean()  # still known to be worse


def test_what_would_be_taken_to_be_of_interest_is_learned_to_lie_beyond(rng):
    genomes = np.unique(SPACE.sample(80, rng), axis=0)
    bad = genomes[:, 2] == 5  # nothing else says so
    y = np.where(bad, 1000.0, error(genomes))
    without = surrogate(genomes[~bad], y[~bad], {"error": (0.0, 5.0)})
    limited = surrogate(genomes, y, {"error": (0.0, 5.0)})
    near = bad & (error(genomes) < 3)
    assert limited(genomes[near]).mean() > without(genomes[near]).mean() + 0.3
    assert limited(genomes).max() < np.log(100)  # as at the end of what is learned, not as a thousand


def test_of_few_measurements_all_are_learned(rng):
    genomes = np.unique(SPACE.sample(20, rng), axis=0)[:8]
    y = error(genomes)
    limits = {"error": (0.0, float(np.sort(y)[1]))}
    np.testing.assert_allclose(surrogate(genomes, y, limits)(genomes), surrogate(genomes, y, {})(genomes))
