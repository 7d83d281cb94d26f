"""A small space on real digits, a supernet of it trained for a few seconds, and a latency table made by hand."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:  # before anything reads it: several busy pools of threads slow each other down
    os.environ["OMP_NUM_THREADS"] = "1"

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock

from latency_tables.table.latency_model import iterate_parts
from latency_tables.table.table import LatencyTable, Report
from latency_tables.timing.measurement import Measurement
from nas.data.dataset import Dataset
from nas.data.load import load_dataset
from nas.objectives.supernet_evaluator import SupernetEvaluator
from nas.supernet.supernet import Supernet
from nas.tasks.classification import Classification
from nas.training.checkpoint import load_tensors, save_tensors
from nas.training.schedule import Schedule
from nas.training.trainer import load_supernet, train
from search_spaces import SearchSpace, Stage, classes, mobilenet

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))


def _tiny_space(formats: tuple[str, ...] = ("float32", "w8a8", "w4a4")) -> SearchSpace:
    stages = (Stage(depths=(1, 2), widths=(8, 12)), Stage(depths=(1, 2), widths=(12, 16), stride=2))
    settings = {"stem_width": 8, "stages": stages, "expand_ratios": (2, 3), "formats": formats}
    return mobilenet("tiny", input_shape=(1, 8, 8), outputs=classes(10), **settings)


def _schedule(**changes: float) -> Schedule:
    schedule = Schedule(float_epochs=6, quantized_epochs=3, warmup_epochs=1, compile=False)
    return replace(schedule, **changes)


def _table(space: SearchSpace, fingerprint: dict | None = None) -> LatencyTable:
    """A table in which a part takes a microsecond for each hundred characters of its signature."""
    parts = {name: Measurement((max(len(name), 10) * 1e-5,) * 3, (True,) * 3) for name, _ in iterate_parts(space)}
    parts["call"] = Measurement((5e-5, 5e-5, 5e-5), (True,) * 3)
    report = Report(
        n_fit=2,
        n_held_out=2,
        mape=1.0,
        max_error=1.0,
        tau=1.0,
        split_half=1.0,
        disturbed=0.0,
        is_valid=True,
        reasons=(),
        held_out=((1.0, 1.0), (2.0, 2.0)),
        minutes=0.1,
    )
    return LatencyTable(
        device="onnxruntime-1t",
        fingerprint=fingerprint or {"cpu": "none"},
        space=space.name,
        measurements=parts,
        reference_ms=1.0,
        estimated={},
        coefficients=(0.001, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0),
        report=report,
    )


@pytest.fixture(scope="session")
def built_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], None]], Path]:
    """`built_once(name, build)`: the folder that `build(folder)` fills in one of the processes that test together."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def folder_of(name: str, build: Callable[[Path], None]) -> Path:
        folder, done = shared / name, shared / f"{name}.done"
        with FileLock(shared / f"{name}.lock"):
            if not done.exists():
                folder.mkdir()
                build(folder)
                done.touch()
        return folder

    return folder_of


@pytest.fixture(scope="session")
def tiny_space() -> SearchSpace:
    return _tiny_space()


@pytest.fixture(scope="session")
def make_tiny_space():
    """`make_tiny_space(formats)`: the small space with other number formats."""
    return _tiny_space


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load_dataset("digits", n_val=360)


@pytest.fixture(scope="session")
def trained(tiny_space: SearchSpace, digits: Dataset, built_once: Callable[[str, Callable[[Path], None]], Path]) -> Supernet:
    def new() -> Supernet:
        supernet = Supernet(tiny_space, torch.Generator().manual_seed(0))
        supernet.set_input_statistics(*digits.input_statistics())
        return supernet

    def build(folder: Path) -> None:
        supernet = new()
        train(
            supernet,
            Classification.of(digits),
            digits,
            _schedule(),
            seed=0,
            checkpoint=folder / "last.safetensors",
            identity={},
        )
        save_tensors(folder / "supernet.safetensors", supernet.state_dict(), {})

    file = built_once("trained", build) / "supernet.safetensors"
    supernet = new()
    load_supernet(supernet, load_tensors(file)[0], file)
    return supernet


@pytest.fixture(scope="session")
def task(digits: Dataset) -> Classification:
    return Classification.of(digits)


@pytest.fixture(scope="session")
def evaluator(trained: Supernet, task: Classification, digits: Dataset) -> SupernetEvaluator:
    return SupernetEvaluator(trained, task, digits)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def make_table():
    """`make_table(space, fingerprint=None)`: a latency table of invented times."""
    return _table


@pytest.fixture(scope="session")
def make_schedule():
    """`make_schedule(**changes)`: a training of a few seconds."""
    return _schedule
