"""PSNR and SSIM by hand, and where pictures are judged."""

import numpy as np
import pytest
import torch

from nas.data.dataset import Dataset
from nas.search.pareto import non_dominated
from nas.tasks.super_resolution import SuperResolution, psnr, ssim
from search_spaces.errors import InvalidInputError

TASK = SuperResolution(shape=(1, 16, 16), scale=2, std=50.0)


def pictures(rng, n=2, size=32):
    return rng.integers(0, 256, (n, 1, size, size)).astype(np.float32)


def test_psnr_by_hand():
    wanted = np.zeros((2, 1, 4, 4))
    found = wanted + np.array([1.0, 16.0])[:, None, None, None]
    assert psnr(found, wanted) == pytest.approx([48.1308, 24.0484], abs=1e-4)
    assert psnr(wanted, wanted).tolist() == [100.0, 100.0]
    assert np.isnan(psnr(found * np.nan, wanted)).all()


def test_a_border_as_wide_as_the_scale_is_not_judged(rng):
    wanted = pictures(rng)
    found = wanted.copy()
    found[:, :, :2] = found[:, :, -2:] = found[..., :2] = found[..., -2:] = 0
    scores = TASK.scores(found, {"pictures": wanted})
    assert scores["psnr_db"].tolist() == [100.0, 100.0]
    assert scores["ssim"] == pytest.approx([1.0, 1.0])


def test_pictures_are_judged_as_a_file_holds_them(rng):
    wanted = pictures(rng)
    assert TASK.scores(wanted + 0.4, {"pictures": wanted})["psnr_db"].tolist() == [100.0, 100.0]
    beyond = np.where(wanted == 255, 300, wanted)
    assert TASK.scores(beyond, {"pictures": wanted})["psnr_db"].tolist() == [100.0, 100.0]


def test_colours_are_judged_by_their_luminance(rng):
    wanted = rng.integers(50, 200, (1, 3, 32, 32)).astype(np.float32)
    task = SuperResolution(shape=(3, 16, 16), scale=2)
    found = wanted + np.array([3.0, 0, 0])[None, :, None, None]
    by_hand = 20 * np.log10(255 / (3 * 65.481 / 255))
    assert task.scores(found, {"pictures": wanted})["psnr_db"] == pytest.approx([by_hand])


def test_structural_similarity_falls_with_noise_and_is_one_of_the_same(rng):
    plane = pictures(rng, 1)[0, 0].astype(np.float64)
    assert ssim(plane, plane) == pytest.approx(1.0)
    noisy = [ssim(plane, plane + rng.normal(0, s, plane.shape)) for s in (5, 20, 80)]
    assert 1 > noisy[0] > noisy[1] > noisy[2] > 0


def test_large_values_are_good():
    assert TASK.metric.is_better(30.0, 29.0)
    assert TASK.chance == pytest.approx(20 * np.log10(255 / 50))
    points = np.array([[-30.0, 1.0], [-29.0, 2.0]])  # as a search minimises them
    assert non_dominated(points).tolist() == [True, False]


def test_pairs_are_turned_together(rng):
    large = torch.from_numpy(pictures(rng, 64))
    batch = {"images": large[:, :, ::2, ::2], "pictures": large}
    changed = TASK.augment(batch, 1, torch.Generator().manual_seed(0))
    kinds = set()
    for i in range(64):
        for turned in range(8):
            other = large[i].rot90(turned % 4, (1, 2)) if turned < 4 else large[i].transpose(1, 2).rot90(turned % 4, (1, 2))
            if torch.equal(other, changed["pictures"][i]):
                kinds.add(turned)
                break
        else:
            pytest.fail("a picture is neither turned nor mirrored")
        assert torch.equal(changed["images"][i].sort().values.sum(), batch["images"][i].sort().values.sum())
    assert len(kinds) == 8


def test_outputs_are_as_much_larger_as_the_pairs_say():
    train = {"images": np.ones((2, 1, 8, 8), np.float32), "pictures": np.ones((2, 1, 24, 24), np.float32)}
    task = SuperResolution.of(Dataset("x", train, train, train, {"size": (20, 10)}))
    assert (task.scale, task.inputs[0].shape, task.outputs[0].shape) == (3, (1, 20, 10), (1, 60, 30))
    wrong = {**train, "pictures": np.ones((2, 1, 24, 16), np.float32)}
    with pytest.raises(InvalidInputError, match="are no enlargement of"):
        SuperResolution.of(Dataset("x", wrong, wrong, wrong))


@pytest.mark.parametrize(
    ("small", "large", "message"),
    [
        ((1, 12, 12), (3, 24, 24), "must have one channel or three, small and large alike; got 1 and 3"),
        ((1, 7, 7), (1, 14, 14), "must have more than 14 pixels a side to be judged, got 14"),
    ],
)
def test_pairs_that_make_no_sense_are_refused(small, large, message):
    train = {"images": np.ones((2, *small), np.float32), "pictures": np.ones((2, *large), np.float32)}
    with pytest.raises(InvalidInputError, match=message):
        SuperResolution.of(Dataset("x", train, train, train))
