import numpy as np
import pytest
from scipy.stats import spearmanr

from latency_tables.transfer import choose, clean, transfer
from search_spaces import InvalidInputError


def invented_devices(rng, n=400, n_devices=5):
    """Latencies that are weighted sums of operator counts, each device with weights of its own, and 2 % noise."""
    counts = rng.integers(0, 5, (n, 4)).astype(float)
    weights = rng.uniform(0.3, 3.0, (4, n_devices))
    return (1 + counts @ weights) * np.exp(rng.normal(0, 0.02, (n, n_devices))), counts


def test_ten_measurements_beat_every_single_source(rng):
    ms, counts = invented_devices(rng)
    chosen = rng.choice(len(ms), 10, replace=False)
    predicted = transfer(ms[:, 1:], counts, chosen, ms[chosen, 0])
    rest = np.setdiff1d(np.arange(len(ms)), chosen)
    tau = spearmanr(predicted[rest], ms[rest, 0]).statistic
    assert tau > max(spearmanr(source[rest], ms[rest, 0]).statistic for source in ms[:, 1:].T)
    assert np.median(np.abs(predicted[rest] / ms[rest, 0] - 1)) < 0.1


def test_a_gross_fault_does_little(rng):
    ms, counts = invented_devices(rng)
    ms[3, 2] = 1e-3
    assert np.exp(clean(np.log(ms)))[3, 2] > 0.5
    chosen = np.append(rng.choice(np.arange(10, len(ms)), 11, replace=False), 5)
    measured = ms[chosen, 0].copy()
    right = transfer(ms[:, 1:], counts, chosen, measured)
    measured[-1] = 1e-3
    assert spearmanr(right, transfer(ms[:, 1:], counts, chosen, measured)).statistic > 0.97


def test_chosen_networks_tell_more_than_random_ones(rng):
    ms, counts = invented_devices(rng)
    errors = {"random": [], "chosen": []}
    for seed in range(10):
        draw = np.random.default_rng(seed)
        for name, chosen in (
            ("random", draw.choice(len(ms), 5, replace=False)),
            ("chosen", choose(ms[:, 1:], counts, 5, draw)),
        ):
            assert len(set(chosen)) == 5
            predicted = transfer(ms[:, 1:], counts, chosen, ms[chosen, 0])
            errors[name].append(np.abs(predicted / ms[:, 0] - 1).mean())
    assert np.mean(errors["chosen"]) < np.mean(errors["random"])
    with pytest.raises(InvalidInputError, match=r"k must be in 1..400, got 401"):
        choose(ms[:, 1:], counts, 401, rng)


def test_it_is_repeatable_and_scales_with_the_unit(rng):
    ms, counts = invented_devices(rng, n=200)
    chosen = np.arange(10)
    once = transfer(ms[:, 1:], counts, chosen, ms[chosen, 0])
    assert (once == transfer(ms[:, 1:], counts, chosen, ms[chosen, 0])).all()
    assert transfer(ms[:, 1:], counts, chosen, 1000 * ms[chosen, 0]) == pytest.approx(1000 * once, rel=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ms, counts: (ms[:, :1], counts, np.arange(5), np.ones(5)), "devices >= 2"),
        (lambda ms, counts: (ms, counts[:3], np.arange(5), np.ones(5)), "devices >= 2"),
        (lambda ms, counts: (ms, counts, np.arange(2), np.ones(2)), "at least 3 networks must be measured"),
        (lambda ms, counts: (ms, counts, np.arange(5), np.ones(4)), "5 networks and 4 latencies"),
        (lambda ms, counts: (-ms, counts, np.arange(5), np.ones(5)), "positive numbers of milliseconds"),
    ],
)
def test_bad_input_is_refused(rng, change, message):
    with pytest.raises(InvalidInputError, match=message):
        transfer(*change(*invented_devices(rng, n=50)))
