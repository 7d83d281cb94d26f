import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from nas.data.dataset import Dataset
from nas.data.fashion_mnist import DEBIAN_FASHION_MNIST, IDX_FILES
from nas.data.load import load_dataset
from nas.data.words import read_in_words
from nas.tasks.augment import shift
from search_spaces import InvalidInputError
from search_spaces.errors import HwnasError


def save(path, **changes):
    rng = np.random.default_rng(0)
    arrays = {
        "x_train": rng.integers(0, 256, (60, 6, 5, 3), dtype=np.uint8),
        "y_train": np.arange(60) % 3,
        "x_test": rng.integers(0, 256, (30, 6, 5, 3), dtype=np.uint8),
        "y_test": np.arange(30) % 3,
    }
    np.savez(path, **{name: array for name, array in (arrays | changes).items() if array is not None})
    return str(path)


def test_digits(digits):
    assert digits.train["images"].shape == (1077, 1, 8, 8)
    assert (len(digits.val["images"]), len(digits.test["images"]), digits.train["labels"].max()) == (360, 360, 9)
    assert digits.train["images"].dtype == np.float32
    assert digits.train["images"].max() == 16
    assert digits.input_shape == (1, 8, 8)
    everything = np.concatenate([digits.train["images"], digits.val["images"], digits.test["images"]])
    assert len(np.unique(everything.reshape(len(everything), -1), axis=0)) == len(everything) == 1797


def test_seed_moves_validation_but_not_test(digits):
    other = load_dataset("digits", n_val=360, seed=1)
    assert (other.test["images"] == digits.test["images"]).all()
    assert not (other.val["images"] == digits.val["images"]).all()


def test_npz_channels_last_first_and_grey(tmp_path):
    data = load_dataset("npz", path=save(tmp_path / "a.npz"), n_val=9)
    assert data.train["images"].shape == (51, 3, 6, 5)
    with np.load(tmp_path / "a.npz") as content:
        assert (data.test["images"] == content["x_test"].transpose(0, 3, 1, 2)).all()
        first = {f"x_{split}": content[f"x_{split}"].transpose(0, 3, 1, 2) for split in ("train", "test")}
        grey = {f"x_{split}": content[f"x_{split}"][..., 0] / 255 for split in ("train", "test")}
    assert (
        load_dataset("npz", path=save(tmp_path / "b.npz", **first), n_val=9).train["images"] == data.train["images"]
    ).all()
    assert load_dataset("npz", path=save(tmp_path / "c.npz", **grey), n_val=9).train["images"].shape == (51, 1, 6, 5)


def nan_images():
    images = np.zeros((60, 6, 5, 3))
    images[7, 0, 0, 0] = np.nan
    return images


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": None}, r"lacks \['y_test'\]"),
        ({"x_train": nan_images()}, "training images must be finite, got NaN or infinity in image 7"),
        ({"x_train": np.zeros((0, 6, 5, 3))}, "none empty"),
        ({"x_train": np.zeros((60, 6))}, "must have shape"),
        ({"x_train": np.full((60, 6, 5), "a")}, "must be uint8 or float"),
        ({"y_train": np.arange(59)}, r"training labels must have shape \(60,\), one for each image; got \(59,\)"),
        ({"y_train": np.arange(60) / 2}, "training labels must be integers, got float64"),
        ({"y_train": np.arange(60) % 3 - 1}, "training labels must be in 0..99999, got -1..1"),
        ({"y_test": np.full(30, 2**64 - 1, np.uint64)}, "test labels must be in 0..99999"),
        ({"y_train": np.arange(60) % 2 * 2}, r"must name every class in 0..2, but have no \[1\]"),
        ({"x_train": np.zeros((60, 6, 5), "timedelta64[s]")}, "must be uint8 or float, got timedelta64"),
        ({"x_train": np.full((60, 6, 5, 3), 1e300)}, "must be finite"),
        ({"y_train": np.array([{}] * 60)}, "is no npz file or holds objects; write it with numpy.savez"),
        ({"y_test": np.arange(30) % 4}, "the training labels are 0..2, but a test label is 3"),
        ({"y_train": np.zeros(60, int), "y_test": np.zeros(30, int)}, "at least two classes"),
        ({"x_test": np.zeros((30, 6, 6, 3))}, r"training images have shape \(3, 6, 5\), test images \(3, 6, 6\)"),
        ({"y_train": np.array([0] * 59 + [1]), "y_test": np.zeros(30, int)}, "cannot take 9 validation images"),
    ],
)
def test_bad_data_is_named(tmp_path, changes, message):
    with pytest.raises(InvalidInputError, match=message):
        load_dataset("npz", path=save(tmp_path / "bad.npz", **changes), n_val=9)


def test_bad_arguments_are_named(tmp_path):
    with pytest.raises(
        InvalidInputError, match="unknown data set 'mnist'; known: digits, fashion_mnist, image_folder, movie-reviews, npz"
    ):
        load_dataset("mnist")
    with pytest.raises(InvalidInputError, match="the data set 'digits' takes no path"):
        load_dataset("digits", path="x")
    with pytest.raises(InvalidInputError, match="needs a path"):
        load_dataset("npz")
    with pytest.raises(InvalidInputError, match="n_val must leave both sides at least 10 of 1437 images, got 5"):
        load_dataset("digits", n_val=5)
    with pytest.raises(InvalidInputError, match="cannot read"):
        load_dataset("npz", path=str(tmp_path / "none.npz"))


def test_damaged_npz_is_refused(tmp_path):
    content = Path(save(tmp_path / "a.npz")).read_bytes()
    for length in (0, 10, len(content) // 2, len(content) - 10):
        (tmp_path / "cut.npz").write_bytes(content[:length])
        with pytest.raises(HwnasError, match="cut.npz"):
            load_dataset("npz", path=str(tmp_path / "cut.npz"))


def write_idx(folder: Path, name: str, array: np.ndarray, *, gz: bool) -> None:
    content = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    (folder / (f"{name}.gz" if gz else name)).write_bytes(gzip.compress(content) if gz else content)


def test_idx_files(tmp_path, rng):
    arrays = [
        rng.integers(0, 256, (40, 4, 4), dtype=np.uint8),
        (np.arange(40) % 2).astype(np.uint8),
        rng.integers(0, 256, (10, 4, 4), dtype=np.uint8),
        (np.arange(10) % 2).astype(np.uint8),
    ]
    for i, (name, array) in enumerate(zip(IDX_FILES, arrays, strict=True)):
        write_idx(tmp_path, name, array, gz=bool(i % 2))
    data = load_dataset("fashion_mnist", path=str(tmp_path), n_val=8)
    assert (data.test["images"][:, 0] == arrays[2]).all()
    content = (tmp_path / IDX_FILES[0]).read_bytes()
    for damaged in (content[:3], content[:-1], b"\x01\x02\x03\x04" + content[4:]):
        (tmp_path / IDX_FILES[0]).write_bytes(damaged)
        with pytest.raises(HwnasError, match="is damaged"):
            load_dataset("fashion_mnist", path=str(tmp_path))
    (tmp_path / IDX_FILES[0]).unlink()
    with pytest.raises(InvalidInputError, match="dataset-fashion-mnist"):
        load_dataset("fashion_mnist", path=str(tmp_path))


@pytest.mark.skipif(not DEBIAN_FASHION_MNIST.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_fashion_mnist_of_debian():
    data = load_dataset("fashion_mnist", n_val=10_000)
    assert data.train["images"].shape == (50_000, 1, 28, 28)
    assert data.test["images"].shape == (10_000, 1, 28, 28)
    assert np.bincount(data.val["labels"]).tolist() == [1000] * 10


def test_shift_moves_whole_images():
    images = torch.zeros(200, 2, 5, 5)
    images[:, :, 2, 2] = 1.0
    moved = shift(images, 1, torch.Generator().manual_seed(0))
    assert moved.shape == images.shape
    assert (moved.sum(dim=(2, 3)) == 1).all()
    places = {tuple(int(i) for i in place) for place in moved[:, 0].nonzero()[:, 1:]}
    assert places == {(r, c) for r in (1, 2, 3) for c in (1, 2, 3)}
    assert (moved[:, 0] == moved[:, 1]).all()
    assert shift(images, 0, torch.Generator()) is images


def rgba() -> np.ndarray:
    """Give random colours of which the first pixel is 0.1, with opaque alpha."""
    images = np.random.default_rng(0).uniform(0.2, 200, (8, 4, 6, 6)).astype(np.float32)
    images[:, :3, 0, 0] = 0.1
    images[:, 3] = 255
    return images


def test_shift_fills_each_channel_with_its_own_least_value():
    images = torch.from_numpy(rgba())
    moved = shift(images, 2, torch.Generator().manual_seed(0))
    assert (moved[:, 3] == 255).all()
    assert torch.isin(moved[:, :3], images[:, :3]).all()
    assert (moved[:, :3].amin(dim=(0, 2, 3)) == images[:, :3].amin(dim=(0, 2, 3))).all()


def test_a_constant_channel_has_deviation_one():
    x, y = rgba(), np.arange(8) % 2
    mean, std = Dataset("npz", *[{"images": x, "labels": y}] * 3).input_statistics()
    assert mean[3] == 255
    assert std[3] == 1
    np.testing.assert_allclose(std[:3], x[:, :3].std(axis=(0, 2, 3)), rtol=1e-5)


def test_what_was_read_is_said_in_a_line(digits):
    assert read_in_words(digits) == [
        "read digits: 1,077 training, 360 validation and 360 test images, 1 channel, 8x8, 10 classes, values 0 to 16"
    ]


def test_channels_that_tell_nothing_and_images_all_alike_are_warned_of(tmp_path, rng):
    images = rng.integers(0, 256, (40, 4, 8, 8), dtype=np.uint8)
    images[:, 3] = 255
    images[0, :3, 0, 0], images[1, :3, 0, 0] = 0, 255
    labels = np.arange(40) % 2

    def lines():
        np.savez(tmp_path / "d.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
        return read_in_words(load_dataset("npz", path=str(tmp_path / "d.npz"), n_val=10))

    read, *warnings = lines()
    assert read.endswith("4 channels, 8x8, 2 classes, values by channel 0 to 255; 0 to 255; 0 to 255; 255 to 255")
    assert warnings == ["warning: channel 3 is the same in every pixel of every image: it tells nothing"]
    images[:] = images[0]
    assert lines()[1] == "warning: all training images are alike: nothing can be learned from them"


def test_the_home_is_expanded(tmp_path, monkeypatch, rng):
    monkeypatch.setenv("HOME", str(tmp_path))
    images, labels = rng.integers(0, 9, (20, 8, 8), dtype=np.uint8), np.arange(20) % 2
    np.savez(tmp_path / "d.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    assert load_dataset("npz", path="~/d.npz").train["labels"].max() == 1


def test_a_number_that_nobody_set_is_not_blamed(tmp_path, rng):
    images, labels = rng.integers(0, 9, (10, 8, 8), dtype=np.uint8), np.arange(10) % 2
    np.savez(tmp_path / "d.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    with pytest.raises(
        InvalidInputError, match="a sixth of 10 training images is fewer than the 2 that 2 classes need for validation"
    ):
        load_dataset("npz", path=str(tmp_path / "d.npz"))
