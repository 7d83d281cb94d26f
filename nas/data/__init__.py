"""Data sets, one source a file."""

from nas.data import (  # noqa: F401 - each registers its sources
    digits,
    fashion_mnist,
    image_folder,
    npz,
    pasted_digits,
    photographs,
    pictures,
    rotated_digits,
    text,
)
from nas.data.dataset import Dataset
from nas.data.load import DATASETS, Splits, load_dataset

__all__ = ["DATASETS", "Dataset", "Splits", "load_dataset"]
