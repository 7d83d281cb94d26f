"""Images in folders, and what can be wrong with them."""

import shutil
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from nas.data.load import load_dataset
from search_spaces.errors import DamagedFileError, HwnasError, InvalidInputError


def write(folder, n_train=6, n_test=2, mode="L", size=(8, 10), classes=("cat", "dog")):
    rng = np.random.default_rng(0)
    for split, n in (("train", n_train), ("test", n_test)):
        for name in classes:
            (folder / split / name).mkdir(parents=True)
            for i in range(n):
                shape = size[::-1] if mode == "L" else (*size[::-1], 3)
                Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / split / name / f"{i}.png")
    return folder


@pytest.fixture
def images(tmp_path):
    return write(tmp_path / "images")


def load(folder, n_val=2):
    return load_dataset("image_folder", path=str(folder), n_val=n_val)


def test_grey_images_are_read(images):
    data = load(images)
    assert data.input_shape == (1, 10, 8)
    assert data.facts["classes"] == ("cat", "dog")
    assert (len(data.train["images"]), len(data.val["images"]), len(data.test["images"])) == (10, 2, 4)
    np.testing.assert_array_equal(data.test["labels"], [0, 0, 1, 1])
    pixels = np.asarray(Image.open(images / "test" / "dog" / "1.png"))
    np.testing.assert_array_equal(data.test["images"][3, 0], pixels)


def test_one_image_in_colour_makes_all_rgb(images):
    Image.new("RGB", (8, 10), (1, 2, 3)).save(images / "test" / "cat" / "0.png")
    data = load(images)
    assert data.input_shape == (3, 10, 8)
    np.testing.assert_array_equal(data.test["images"][0][:, 0, 0], [1, 2, 3])
    np.testing.assert_array_equal(data.test["images"][1][0], data.test["images"][1][2])


@pytest.mark.parametrize("kind", ["png", "jpg", "bmp", "webp"])
def test_other_kinds_are_read(tmp_path, kind):
    folder = write(tmp_path / "images", mode="RGB")
    for file in list(folder.rglob("*.png")):
        Image.open(file).save(file.with_suffix(f".{kind}"))
        if kind != "png":
            file.unlink()
    assert load(folder).input_shape == (3, 10, 8)


def test_the_order_of_files_is_fixed_and_hidden_files_do_not_count(images):
    digest = load(images).digest
    (images / "train" / "cat" / ".DS_Store").write_bytes(b"x")
    (images / ".hidden").mkdir()
    assert load(images).digest == digest


def truncate(folder):
    file = folder / "train" / "cat" / "0.png"
    file.write_bytes(file.read_bytes()[:60])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (truncate, r"0.png' is damaged"),
        (lambda f: (f / "train/cat/note.txt").write_text("x"), r"note.txt' is no image"),
        (lambda f: (f / "train/cat/9.png").write_bytes(b""), r"9.png' is no image"),
        (lambda f: (f / "train/cat/inner").mkdir(), r"inner' is no image"),
        (lambda f: Image.new("L", (9, 9)).save(f / "test/dog/7.png"), r"of one size: .* is 8x10, .*7.png' is 9x9"),
        (lambda f: shutil.rmtree(f / "test"), r"no folder .*test'"),
        (lambda f: shutil.rmtree(f / "train"), r"no folder .*train'"),
        (lambda f: (f / "train/bird").mkdir(), r"bird' has no images"),
        (lambda f: (f / "test/bird").mkdir(), r"bird' has no images"),
        (lambda f: shutil.copytree(f / "test/dog", f / "test/bird"), r"train' lacks: bird"),
        (lambda f: shutil.rmtree(f / "train/dog"), r"train' lacks: dog"),
        (lambda f: (f / "train/readme.txt").write_text("x"), r"readme.txt' lies beside"),
    ],
)
def test_what_is_wrong_is_named(images, spoil, message):
    spoil(images)
    with pytest.raises(HwnasError, match=message):
        load(images)


def test_more_than_eight_bits_are_refused_not_clipped(images):
    Image.fromarray(np.full((10, 8), 40_000, np.uint16)).save(images / "train/cat/0.png")
    with pytest.raises(InvalidInputError, match="more than 8 bits"):
        load(images)


def test_a_decompression_bomb_is_refused(images, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    with pytest.raises(DamagedFileError, match="damaged"):
        load(images)


def test_a_path_is_needed():
    with pytest.raises(InvalidInputError, match="needs a path"):
        load_dataset("image_folder")


def png(kind, pixels):
    """A PNG of 16 bits a channel; kind: 2 RGB, 4 grey and alpha, 6 RGB and alpha."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, kind, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("kind", "channels", "named"), [(2, 3, "RGB;16B"), (4, 2, "LA;16B"), (6, 4, "RGBA;16B")])
def test_sixteen_bits_a_channel_are_refused_in_every_mode(images, rng, kind, channels, named):
    file = images / "train" / "cat" / "0.png"
    file.write_bytes(png(kind, rng.integers(0, 256, (10, 8, channels))))
    with pytest.raises(InvalidInputError, match=f"has more than 8 bits a channel .{named}.; save such images as npz"):
        load(images)


def test_a_portable_pixmap_of_sixteen_bits_is_refused(images, rng):
    pixels = rng.integers(0, 256, (10, 8, 3))
    (images / "train" / "cat" / "0.ppm").write_bytes(b"P6 8 10 65535\n" + pixels.astype(">u2").tobytes())
    with pytest.raises(InvalidInputError, match="more than 8 bits a channel .values up to 65535."):
        load(images)
