"""Pairs of pictures, and what is refused of a folder."""

import numpy as np
import pytest
from PIL import Image

from nas.data.load import load_dataset
from nas.data.pictures import Pictures, pair, resized, starts, to_array
from search_spaces.errors import InvalidInputError


def save(folder, n, size=(40, 50), mode="L", start=0):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(start)
    for i in range(start, start + n):
        pixels = rng.integers(0, 256, (*size, 3) if mode == "RGB" else size, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")


def load(folder, **options):
    options = {"patch": 10, "height": 16, "width": 12, **options}
    return load_dataset("pictures", path=str(folder), n_val=2, targets="pictures", options=options)


def test_a_folder_becomes_patches_and_whole_pictures(tmp_path):
    save(tmp_path / "train", 6)
    save(tmp_path / "test", 2)
    save(tmp_path / "test", 1, size=(61, 30), start=9)  # odd sizes lose what is left over
    data = load(tmp_path)
    assert data.train["images"].shape == (4 * 6, 1, 10, 10)  # 20x25 in two rows and three columns
    assert data.train["pictures"].shape == (4 * 6, 1, 20, 20)
    assert data.input_shape == (1, 16, 12)
    assert data.test["sizes"].tolist() == [[20, 25], [20, 25], [30, 15]]
    batches = list(data.batches("test", 10))
    assert [batch["images"].shape for batch in batches] == [(2, 1, 20, 25), (1, 1, 30, 15)]
    assert [batch["pictures"].shape for batch in batches] == [(2, 1, 40, 50), (1, 1, 60, 30)]
    windows = data.windows("test", (1, 16, 12))
    assert windows.shape == (2 * 2 + 1, 1, 16, 12)
    assert np.array_equal(windows[0], batches[0]["images"][0, :, :16, :12])
    assert data.windows("test", (1, 32, 32)).shape == (3, 1, 32, 32)  # mirrored where they are smaller


def test_patches_fit_their_large_ones(tmp_path):
    save(tmp_path / "train", 3)
    save(tmp_path / "test", 1)
    data = load_dataset(
        "pictures",
        path=str(tmp_path),
        n_val=1,
        targets="pictures",
        options={"patch": 10, "scale": 2, "height": 8, "width": 8},
    )
    large = data.train["pictures"][0].astype(np.uint8)
    again = resized(large, (10, 10))[0].astype(float)
    assert np.abs(again - data.train["images"][0, 0])[2:-2, 2:-2].max() <= 1  # edges see what lies outside


def test_a_flat_picture_stays_flat_and_reductions_are_smooth():
    flat = np.full((1, 30, 20), 77, np.uint8)
    small, large = pair(flat, 3)
    assert small.shape == (1, 10, 6)
    assert large.shape == (1, 30, 18)
    assert (small == 77).all()
    stripes = np.tile(np.array([0, 255], np.uint8), (1, 16, 8))
    assert np.ptp(pair(stripes, 2)[0][:, :, 2:-2]) == 0  # antialiased: not every second column


def test_starts_cover_a_length():
    assert starts(90, 30) == [0, 30, 60]
    assert starts(25, 10) == [0, 8, 15]
    assert starts(10, 10) == [0]


def test_luminance_is_that_of_the_standard():
    white = Image.new("RGB", (2, 2), (255, 255, 255))
    assert to_array(white, luminance=True).tolist() == [[[235, 235], [235, 235]]]
    assert to_array(Image.new("RGB", (1, 1)), luminance=True).tolist() == [[[16]]]
    assert to_array(white, luminance=False).shape == (3, 2, 2)
    assert to_array(Image.new("L", (1, 1), 7), luminance=True).tolist() == [[[7]]]


def test_one_folder_is_split(tmp_path):
    save(tmp_path / "pictures", 12)
    data = load(tmp_path / "pictures")
    assert (data.size("test"), data.size("val")) == (2, 2)
    assert len(data.train["images"]) == 8 * 6


def test_what_does_not_fit_is_refused(tmp_path):
    save(tmp_path / "a" / "train", 6)
    save(tmp_path / "a" / "test", 1)
    save(tmp_path / "mixed" / "train", 6)
    save(tmp_path / "mixed" / "test", 1, mode="RGB")
    save(tmp_path / "few", 3)
    (tmp_path / "half" / "train").mkdir(parents=True)
    with pytest.raises(InvalidInputError, match="20 pixels high or wide when reduced, less than a patch of 30"):
        load(tmp_path / "a", patch=30)
    with pytest.raises(
        InvalidInputError, match="has no option zoom; its options are scale, patch, height, width, luminance"
    ):
        load(tmp_path / "a", zoom=2)
    with pytest.raises(InvalidInputError, match="is grey and '.*' is not; set `data.options.luminance: true`"):
        load(tmp_path / "mixed")
    assert load(tmp_path / "mixed", luminance=True).input_shape == (1, 16, 12)
    with pytest.raises(InvalidInputError, match="has no pictures for testing; six are the least"):
        load(tmp_path / "few")
    with pytest.raises(InvalidInputError, match="has train but not the other of `train` and `test`"):
        load(tmp_path / "half")
    with pytest.raises(InvalidInputError, match="there is no folder '.*' of pictures"):
        load(tmp_path / "none")
    with pytest.raises(InvalidInputError, match="needs a path to a folder of pictures"):
        load_dataset("pictures", targets="pictures")
    with pytest.raises(InvalidInputError, match="the data set 'pictures' has pictures, the task needs labels"):
        load_dataset("pictures", path=str(tmp_path / "a"))
    with pytest.raises(
        InvalidInputError, match="n_val must leave at least one of 2 training pictures, of at least 3; got 1"
    ):
        Pictures(
            training=[np.zeros((1, 20, 20), np.uint8)] * 2,
            test=[np.zeros((1, 20, 20), np.uint8)],
            scale=2,
            patch=8,
            size=(8, 8),
        ).dataset("x", n_val=0, seed=0, targets="pictures")
    with pytest.raises(InvalidInputError, match="the data set 'digits' has no option scale; it has no options"):
        load_dataset("digits", options={"scale": 2})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch": "big"}, "data.options.patch must be of type int, got 'big'"),
        ({"scale": 2.0}, "data.options.scale must be of type int, got 2.0"),
        ({"luminance": "no"}, "data.options.luminance must be of type bool, got 'no'"),
        ({"height": -4}, "height must be in 1..100000, got -4"),
        ({"scale": 0}, "scale must be in 2..8, got 0"),
        ({"patch": 1}, "patch must be in 8..4096, got 1"),
    ],
)
def test_options_are_checked(tmp_path, options, message):
    save(tmp_path / "train", 6)
    save(tmp_path / "test", 1)
    with pytest.raises(InvalidInputError, match=message):
        load(tmp_path, **options)


def test_hidden_files_are_passed_over_and_patches_are_mixed(tmp_path):
    save(tmp_path / "train", 6)
    save(tmp_path / "test", 1)
    save(tmp_path / "test" / ".cache", 2)
    data = load(tmp_path)
    assert data.size("test") == 1
    ordered = load_dataset(
        "pictures", path=str(tmp_path), n_val=2, seed=1, targets="pictures", options={"patch": 10, "height": 8, "width": 8}
    )
    assert not np.array_equal(data.train["images"], ordered.train["images"])


def test_whole_pictures_are_measured_few_at_a_time():
    many = [np.zeros((1, 1024, 1024), np.uint8)] * 3
    data = Pictures(training=many, test=many, scale=2, patch=512, size=(8, 8)).dataset(
        "x", n_val=1, seed=0, targets="pictures"
    )
    assert [len(batch["images"]) for batch in data.batches("test", 512)] == [1, 1, 1]
