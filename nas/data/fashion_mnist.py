"""Fashion-MNIST, and other data in the idx files of MNIST."""

import gzip
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nas.data.load import DATASETS, Splits
from search_spaces.errors import DamagedFileError, InvalidInputError

DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")  # where Debian's package puts it
IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@DATASETS.register("fashion_mnist")
def read_fashion_mnist(path: str | None) -> Splits:
    """Return the images of four idx files in a folder, gzipped or not; None: where Debian's package puts them."""
    folder = Path(path) if path is not None else DEBIAN_FASHION_MNIST
    x, y, x_test, y_test = (_read_idx(folder, name) for name in IDX_FILES)
    return Splits(x=x, y=y, x_test=x_test, y_test=y_test)


def _read_idx(folder: Path, name: str) -> NDArray[np.uint8]:
    """Read one idx file, the format of Yann LeCun's MNIST: two zero bytes, type, rank, big-endian sizes, data."""
    file = next((f for f in (folder / f"{name}.gz", folder / name) if f.is_file()), None)
    if file is None:
        raise InvalidInputError(
            f"'{folder}' holds no {name}[.gz]; install Debian's package dataset-fashion-mnist, or name the folder "
            "by `data.path` of an experiment, `--data` of `hwnas verify`"
        )
    try:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        zeros, kind, rank = struct.unpack(">HBB", content[:4])
        shape = struct.unpack(f">{rank}I", content[4 : 4 + 4 * rank])
        if zeros != 0 or kind != 0x08:
            raise ValueError("not an idx file of unsigned bytes")
        return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)
    except (OSError, EOFError, ValueError, struct.error) as error:
        raise DamagedFileError(f"'{file}' is damaged: {error}") from error
