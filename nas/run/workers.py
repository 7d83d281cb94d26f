"""Measuring several networks at once: in processes here, or on a Dask cluster that is there already."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import joblib
import numpy as np
import torch
from numpy.typing import NDArray

from nas.objectives.supernet_evaluator import SupernetEvaluator
from search_spaces.errors import InvalidInputError, NotReadyError
from search_spaces.space.space import Genomes


@dataclass(frozen=True)
class RunMeasure:
    """Measures networks of a run wherever it is called: it opens the run folder there, so little travels.

    Attributes:
        path: Run folder, under the same path on every machine that measures.
        number: Of the round whose supernet is measured.
        threads: Of each process.
        weights: What measurements depend on: workers outlive a search, and a supernet may be trained anew.
    """

    path: str
    number: int
    threads: int
    weights: str

    def __call__(self, genomes: Genomes) -> dict[str, NDArray[np.float64]]:
        """Return the metrics of genomes of shape `(n, n_genes)`."""
        return _evaluator(self.path, self.number, self.threads, self.weights).measure(genomes)


@lru_cache(maxsize=1)
def _evaluator(path: str, number: int, threads: int, weights: str) -> SupernetEvaluator:  # noqa: ARG001  a key of the cache
    from nas.run.run import Run  # which imports this module

    evaluator = Run.open(path).at(number).evaluator()
    torch.set_num_threads(threads)
    return evaluator


@contextmanager
def backend(name: str, scheduler: str | None = None) -> Iterator[None]:
    """Make joblib measure by the backend `name` in this context.

    Args:
        name: `loky`, processes on this machine; or `dask`.
        scheduler: Address of the Dask scheduler, as `tcp://127.0.0.1:8786`.

    Raises:
        InvalidInputError: If no scheduler is named.
        NotReadyError: If Dask is not installed, or the scheduler does not answer.
    """
    if name == "loky":
        with joblib.parallel_config(backend="loky"):
            yield
        return
    if scheduler is None:
        raise InvalidInputError("--backend dask needs the address of a scheduler, as --scheduler tcp://127.0.0.1:8786")
    try:
        distributed = importlib.import_module("distributed")
    except ImportError as error:
        raise NotReadyError("--backend dask needs Dask; install it with `pip install 'hwnas[dask]'`") from error
    try:
        client = distributed.Client(scheduler, timeout="10s")
    except (OSError, ValueError) as error:
        raise NotReadyError(f"no Dask scheduler answers at '{scheduler}'; start one with `dask scheduler`") from error
    with client, joblib.parallel_config(backend="dask"):
        yield
