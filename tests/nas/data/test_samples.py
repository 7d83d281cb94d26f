"""Samples: read, checked, in three parts that share none."""

import numpy as np
import pytest
from PIL import Image

from nas.data.samples import Pictures, load_samples, read_samples, save_samples, split_samples
from search_spaces.errors import DamagedFileError, InvalidInputError
from search_spaces.graph.tensor import TensorSpec

IMAGE = TensorSpec("x", (3, 8, 8))
TOKENS = TensorSpec("ids", (5,), "int64")


def numbered(n=30, **others):
    """Samples that bear their number."""
    return {"x": np.broadcast_to(np.arange(n, dtype=np.float32)[:, None, None, None], (n, 3, 8, 8)), **others}


def test_no_sample_stands_in_two_parts_and_labels_go_along(tmp_path):
    found = split_samples(numbered(labels=np.arange(30) * 10), [IMAGE], seed=0, source="s")
    parts = [found.split(name)["x"][:, 0, 0, 0].astype(int).tolist() for name in ("calibrate", "val", "test")]
    assert sorted([*parts[0], *parts[1], *parts[2]]) == list(range(30))
    assert found.sizes == {"calibrate": 10, "val": 10, "test": 10}
    assert (found.answers["val"] == 10 * np.array(parts[1])).all()
    assert found.ranges == {"x": (0.0, 29.0)}
    save_samples(found, tmp_path / "samples.npz")
    again = read_samples(tmp_path / "samples.npz")
    assert again.digest == found.digest
    assert (again.answers["test"] == found.answers["test"]).all()
    (tmp_path / "samples.npz").write_bytes(b"PK")
    with pytest.raises(DamagedFileError, match="is damaged"):
        read_samples(tmp_path / "samples.npz")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"z": np.zeros((9, 3, 8, 8)), "y": np.zeros((9, 2))}, r"are \['y', 'z'\], the model takes \['x'\]"),
        ({"x": np.zeros((9, 3, 9, 8))}, r"for input 'x' have shape \(3, 9, 8\), the model takes \(3, 8, 8\)"),
        ({"x": np.zeros((5, 3, 8, 8))}, "holds 5 samples; 6 at least"),
        ({"x": np.full((9, 3, 8, 8), np.nan)}, "hold NaN or infinity"),
        ({"x": np.zeros((9, 3, 8, 8)), "labels": np.zeros(8, int)}, r"differ in number: {'x': 9, 'labels': 8}"),
        ({"x": np.full((9, 3, 8, 8), "a")}, "are no numbers"),
    ],
)
def test_samples_that_are_not_what_the_model_takes(arrays, words):
    with pytest.raises(InvalidInputError, match=words):
        split_samples(arrays, [IMAGE], seed=0, source="s")


def test_whole_numbers_are_not_rounded_from_others():
    with pytest.raises(InvalidInputError, match="input 'ids' takes int64, the samples of 's' are float64"):
        split_samples({"ids": np.zeros((9, 5))}, [TOKENS], seed=0, source="s")
    assert split_samples({"ids": np.zeros((9, 5), np.int32)}, [TOKENS], seed=0, source="s").val["ids"].dtype == np.int64


def test_a_single_array_needs_no_name_and_may_have_batches_of_one():
    found = split_samples({"arr_0": np.zeros((9, 1, 3, 8, 8))}, [IMAGE], seed=0, source="s")
    assert found.val["x"].shape == (3, 3, 8, 8)


def test_pictures_of_a_folder(tmp_path):
    pixels = np.zeros((20, 10, 3), np.uint8)
    pixels[..., 0] = 255
    (tmp_path / "cat").mkdir()
    for i in range(8):
        Image.fromarray(pixels).save(tmp_path / "cat" / f"{i}.png")
    found = load_samples(str(tmp_path), [IMAGE], pictures=Pictures(mean=(0.5, 0.5, 0.5), std=(0.25,)))
    np.testing.assert_allclose(found.val["x"][0, :, 3, 3], [2, -2, -2])
    swapped = load_samples(str(tmp_path), [IMAGE], pictures=Pictures(layout="bgr"))
    np.testing.assert_allclose(swapped.val["x"][0, :, 3, 3], [0, 0, 1])
    (tmp_path / "cat" / "9.png").write_bytes(b"none")
    with pytest.raises(InvalidInputError, match=r"9\.png' is no picture"):
        load_samples(str(tmp_path), [IMAGE])
    with pytest.raises(InvalidInputError, match="for models that take one image"):
        load_samples(str(tmp_path), [TOKENS])


def test_a_function_of_a_file(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "import numpy as np\ndef good():\n    return {'x': np.ones((9, 3, 8, 8))}\ndef bad():\n    raise OSError('gone')\n"
    )
    assert load_samples(f"{file}:good", [IMAGE]).sizes["val"] == 3
    with pytest.raises(InvalidInputError, match="raises OSError: gone"):
        load_samples(f"{file}:bad", [IMAGE])
    with pytest.raises(InvalidInputError, match="has no function 'other'"):
        load_samples(f"{file}:other", [IMAGE])
    with pytest.raises(InvalidInputError, match="there are no samples at"):
        load_samples(str(tmp_path / "none.npz"), [IMAGE])
