"""Data sets, one source a file."""

from nas.data.dataset import Dataset
from nas.data.load import load_dataset

__all__ = ["Dataset", "load_dataset"]
