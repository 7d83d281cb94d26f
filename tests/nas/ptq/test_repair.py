"""What repair brings to layers whose truth is known, and how scales and divergences are made."""

import numpy as np
import pytest

from nas.ptq.bank import Bank
from nas.ptq.calibration import CALIBRATORS, Values, scale_of
from nas.ptq.layers import Layer, drawn_inputs, grouped, mean_input
from nas.ptq.repair.rounding import by_output_error, to_nearest
from nas.ptq.sensitivity.sensitivity import corrected
from nas.search.strategies.sums import spread
from nas.tasks.divergence import divergence, joined, kind_of
from search_spaces.costs import FactorTable
from search_spaces.operators.conv import Conv
from search_spaces.operators.linear import TokenLinear
from search_spaces.precision.formats import NumberFormat
from search_spaces.space.factor import Factor

INT4 = NumberFormat(4)


def a_layer(rng, groups=1, n_out=8, d=20):
    """A layer whose inputs go together, as those of trained networks do."""
    node = Conv(name="c", inputs=("x",), shape=(groups * n_out, 4, 4), in_channels=groups * d, kernel=1, groups=groups)
    mixed = rng.standard_normal((500, groups, 5)) @ rng.standard_normal((5, d)) + 0.1 * rng.standard_normal((500, groups, d))
    weight = rng.standard_normal((groups, n_out, d))
    return Layer(node, weight, np.zeros(groups * n_out), mixed.astype(np.float32), mixed.mean(axis=0))


def output_error(layer, rounded):
    change = rounded.weight() - layer.weight
    return float(np.mean(np.einsum("ngd,god->ngo", layer.rows, change) ** 2))


@pytest.mark.parametrize("groups", [1, 3])
def test_rounding_by_output_error_changes_outputs_far_less(groups, rng):
    layer = a_layer(rng, groups)
    nearest, better = to_nearest(layer, INT4), by_output_error(layer, INT4)
    for rounded in (nearest, better):
        assert np.abs(rounded.integers).max() <= INT4.qmax
        assert (rounded.integers == np.rint(rounded.integers)).all()
    assert output_error(layer, better) < 0.3 * output_error(layer, nearest)


def test_more_inputs_than_one_block_of_rounding(rng):
    layer = a_layer(rng, d=300)
    assert output_error(layer, by_output_error(layer, INT4)) < 0.3 * output_error(layer, to_nearest(layer, INT4))


def test_a_bank_comes_back_whatever_its_layers_are_called(rng):
    layers = {(bits, name): to_nearest(a_layer(rng), NumberFormat(bits)) for bits in (4, 8) for name in ("a/b", "a|b", "|")}
    scales = {("x|y", 8, False): np.float32(0.5), ("x|y", 8, True): np.float32(0.25), ("x", 4, True): np.float32(2)}
    bank = Bank({}, layers, scales)
    back = Bank.from_bytes(bank.to_bytes(), {})
    assert back.scales == scales
    assert back.layers.keys() == layers.keys()
    for key, rounded in layers.items():
        assert (back.layers[key].weight() == rounded.weight()).all()


@pytest.mark.parametrize("settings", [{"kernel": 3}, {"kernel": (1, 3), "stride": (2, 1)}, {"kernel": 3, "groups": 4}])
def test_what_a_convolution_meets(settings, rng):
    shape = (4, 5, 6) if settings.get("stride") is None else (4, 3, 6)
    node = Conv(name="c", inputs=("x",), shape=shape, in_channels=4, **settings)
    x = rng.standard_normal((1, 4, 5, 6)).astype(np.float32)
    weight = rng.standard_normal(node.spec_of["weight"].shape).astype(np.float32)
    outputs = node.compute([x.astype(float)], {"c/weight": weight, "c/bias": np.zeros(4)})
    mean = np.einsum("god,gd->go", grouped(node, weight), mean_input(node, x)).reshape(-1)
    np.testing.assert_allclose(mean, outputs.mean(axis=(0, 2, 3)), rtol=1e-4, atol=1e-5)
    drawn = np.einsum("ngd,god->ngo", drawn_inputs(node, x, 50, rng), grouped(node, weight)).reshape(50, -1)
    flat = outputs[0].reshape(4, -1).T
    assert all(np.abs(flat - row).sum(axis=1).min() < 1e-4 for row in drawn)


def test_what_a_layer_on_tokens_meets(rng):
    node = TokenLinear(name="c", inputs=("x",), shape=(7, 3), in_features=5)
    x = rng.standard_normal((1, 7, 5)).astype(np.float32)
    np.testing.assert_allclose(mean_input(node, x), x.mean(axis=1), rtol=1e-5)
    assert drawn_inputs(node, x, 10, rng).shape == (10, 1, 5)


def test_scales_of_calibrators(rng):
    values = Values()
    values.add(np.append(rng.standard_normal(4000), 40).astype(np.float32), rng)
    signed = NumberFormat(8)
    found = {name: scale_of(values, signed, name) for name in CALIBRATORS}
    assert found["minmax"] == np.float32(40 / 127)
    assert found["percentile"] < found["minmax"]
    assert found["mse"] <= found["minmax"]
    values.limit = 6.0
    assert scale_of(values, NumberFormat(8, signed=False), "minmax") == np.float32(6 / 255)


def test_the_kind_of_divergence_follows_from_what_the_original_gives(rng):
    logits = rng.standard_normal((5, 4))
    powers = np.exp(logits)
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    embeddings = logits / np.linalg.norm(logits, axis=1, keepdims=True)
    images = rng.standard_normal((5, 2, 3, 3))
    kinds = {"logits": logits, "kl": probabilities, "cosine": embeddings, "noise": images}
    assert [kind_of(array) for array in kinds.values()] == ["kl", "kl", "cosine", "noise"]
    for array in kinds.values():
        kind = kind_of(array)
        np.testing.assert_allclose(divergence(kind, array, array), 0, atol=1e-12)
        assert (divergence(kind, array[::-1].copy(), array) >= 0).all()
    exact = (probabilities * np.log(probabilities / probabilities[::-1])).sum(axis=1)
    np.testing.assert_allclose(divergence("kl", logits[::-1].copy(), logits), exact, rtol=1e-6)
    np.testing.assert_allclose(divergence("kl", probabilities[::-1].copy(), probabilities), exact, rtol=1e-6)
    by_output = {"a": np.array([1.0, 3.0]), "b": np.array([0.0, 5.0])}
    np.testing.assert_allclose(joined(by_output, {}), [0.5, 4])
    np.testing.assert_allclose(joined(by_output, {}, "worst"), [0, 5])
    np.testing.assert_allclose(joined(by_output, {"a": 1, "b": 0.5}), [1, 5.5])


def test_sums_are_corrected_by_what_was_measured(rng):
    truth = [np.array([0.0, w]) for w in (1.0, 2.0, 0.5, 0.1)]
    guess = FactorTable(
        tuple(Factor((i,), values * factor) for i, (values, factor) in enumerate(zip(truth, (2, 2, 1, 1), strict=True)))
    )
    genomes = rng.integers(0, 2, (12, 4)).astype(np.int16)
    measured = sum(values[genomes[:, i]] for i, values in enumerate(truth)) + 1e-6
    better = corrected(guess, genomes, measured)
    everything = np.indices((2, 2, 2, 2)).reshape(4, -1).T[1:]
    real = sum(values[everything[:, i]] for i, values in enumerate(truth))
    before, after = (np.abs(table(everything) / real - 1).mean() for table in (guess, better))
    assert after < 0.3 * before
    assert corrected(guess, genomes[:2], measured[:2]) is guess


def test_points_are_taken_where_gaps_are_widest():
    points = np.array([[1.0, 1.0], [1.1, 0.99], [10, 0.5], [100, 0.1]])
    assert spread(points, np.array([[1.0, 1.0]]), 2).tolist() == [3, 2]
    assert sorted(spread(points, np.empty((0, 2)), 9).tolist()) == [0, 1, 2, 3]
