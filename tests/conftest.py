"""A small space on real digits, a supernet of it trained for a few seconds, and a latency table made by hand."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from latency_tables.pricing import iterate_parts
from latency_tables.table import LatencyTable, Report
from latency_tables.timing import Measurement
from nas.config import TrainingConfig
from nas.data import Dataset, load_dataset
from nas.evaluation import Evaluator
from nas.supernet import Supernet
from nas.training.schedule import Schedule
from nas.training.trainer import train
from search_spaces import SearchSpace, Stage, mobilenet

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))


def _tiny_space(formats: tuple[str, ...] = ("float32", "w8a8", "w4a4")) -> SearchSpace:
    stages = (Stage(depths=(1, 2), widths=(8, 12)), Stage(depths=(1, 2), widths=(12, 16), stride=2))
    settings = {"stem_width": 8, "stages": stages, "expand_ratios": (2, 3), "formats": formats}
    return mobilenet("tiny", input_shape=(1, 8, 8), n_classes=10, **settings)


def _schedule(**changes: float) -> Schedule:
    schedule = TrainingConfig(float_epochs=6, quantized_epochs=3, warmup_epochs=1, compile=False).to_schedule()
    return replace(schedule, **changes)


def _table(space: SearchSpace, fingerprint: dict | None = None) -> LatencyTable:
    """A table in which a part takes a microsecond for each hundred characters of its signature."""
    parts = {name: Measurement((max(len(name), 10) * 1e-5,) * 3, (True,) * 3) for name, _ in iterate_parts(space)}
    parts["call"] = Measurement((5e-5, 5e-5, 5e-5), (True,) * 3)
    report = Report(
        n_fit=2,
        n_held_out=2,
        mape=1.0,
        greatest_error=1.0,
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
def trained(tiny_space: SearchSpace, digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Supernet:
    supernet = Supernet(tiny_space, torch.Generator().manual_seed(0))
    supernet.set_pixel_statistics(*digits.pixel_statistics())
    checkpoint = tmp_path_factory.mktemp("trained") / "last.safetensors"
    train(supernet, digits, _schedule(), seed=0, checkpoint=checkpoint, identity={})
    return supernet


@pytest.fixture(scope="session")
def evaluator(trained: Supernet, digits: Dataset) -> Evaluator:
    return Evaluator(trained, digits)


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
