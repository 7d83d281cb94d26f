"""Intersection over union by hand, and masks that do not fit."""

import numpy as np
import pytest
import torch

from nas.data.dataset import Dataset
from nas.data.load import Splits
from nas.tasks.segmentation import Segmentation, mean_iou
from search_spaces.errors import InvalidInputError

TASK = Segmentation(shape=(1, 2, 2), n_classes=3)


def test_intersection_over_union_by_hand():
    masks = np.array([[[0, 0], [1, 1]], [[0, 0], [0, 0]]])
    found = np.array([[[0, 1], [1, 1]], [[0, 0], [0, 0]]])
    # Class 0: one of two pixels, class 1: two of three, class 2 is nowhere; the second image is all right.
    assert mean_iou(found, masks, 3) == pytest.approx([(1 / 2 + 2 / 3) / 2, 1.0])


def test_scores_are_of_each_image():
    masks = np.array([[[0, 1], [2, 0]]])
    right = 20.0 * np.eye(3)[masks].transpose(0, 3, 1, 2)
    scores = TASK.scores(right, {"masks": masks})
    assert scores["mean_iou"].tolist() == [1.0]
    assert scores["cross_entropy"] == pytest.approx([0.0], abs=1e-6)
    assert TASK.metric.of_mean(0.5) == 50.0


def test_images_and_masks_move_together(rng):
    images = torch.from_numpy(rng.normal(size=(3, 1, 6, 6)).astype(np.float32))
    batch = {"images": images, "masks": (images[:, 0] > 0).long()}
    moved = TASK.augment(batch, 2, torch.Generator().manual_seed(1))
    assert not torch.equal(moved["images"], images)
    assert torch.equal(moved["masks"], (moved["images"][:, 0] > 0).long())


def test_masks_that_do_not_fit_are_refused():
    images, masks = np.zeros((4, 1, 8, 8), np.float32), np.ones((4, 8, 4), np.int64)
    train = {"images": images, "masks": masks}
    with pytest.raises(InvalidInputError, match=r"masks of \(8, 4\) do not fit images of \(8, 8\)"):
        Segmentation.of(Dataset("x", train, train, train))
    x = np.zeros((8, 8, 8))
    for y, message in (
        (np.zeros(8, np.int64), r"training masks must have shape \(8, h, w\), one for each image"),
        (np.zeros((8, 8, 8)), "training masks must be integers"),
        (np.full((8, 8, 8), -1), r"training masks must be in 0\.\.99999"),
        (np.zeros((8, 8, 8), np.int64), "the training masks are background throughout"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            Splits(x=x, y=y, x_test=x, y_test=y, targets="masks").dataset("x", n_val=2, seed=0, targets="masks")


def test_classes_are_those_of_all_splits_and_guessing_is_that_of_the_masks():
    images = np.zeros((4, 1, 2, 2), np.float32)
    train = {"images": images, "masks": np.array([[[0, 0], [0, 1]]] * 4)}
    val = {"images": images, "masks": np.array([[[0, 2], [0, 1]]] * 4)}
    task = Segmentation.of(Dataset("x", train, val, train))
    assert task.outputs[0].shape == (3, 2, 2)
    assert task.chance == pytest.approx(100 * (3 / 4 + 0) / 2)


@pytest.mark.parametrize(
    ("y", "y_test", "message"),
    [
        (np.array([0, 255]), np.array([0, 255]), "must hold every class in 0..255, but have no"),
        (np.array([0, 1]), np.array([0, 2]), "the training masks are 0..1, but a test mask has 2"),
    ],
)
def test_classes_must_be_whole(y, y_test, message):
    x = np.zeros((8, 8, 8))
    masks, test = (np.resize(values, (8, 8, 8)) for values in (y, y_test))
    with pytest.raises(InvalidInputError, match=message):
        Splits(x=x, y=masks, x_test=x, y_test=test, targets="masks").dataset("x", n_val=2, seed=0, targets="masks")
    with pytest.raises(InvalidInputError, match=r"training masks have shape \(8, 8\), test masks \(4, 8\)"):
        Splits(x=x, y=masks % 2, x_test=x, y_test=test[:, :4], targets="masks").dataset(
            "x", n_val=2, seed=0, targets="masks"
        )
