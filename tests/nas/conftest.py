"""One short but real run of the command, which every test of a run folder copies."""

import shutil
from pathlib import Path

import pytest

from nas.cli import main

DIGITS = str(Path(__file__).parents[2] / "experiments" / "digits.yaml")
QUICK = [
    "training.float_epochs=2",
    "training.quantized_epochs=1",
    "table.n_fit=12",
    "table.n_held_out=12",
    "table.rounds=2",
    "table.seconds=0.002",
    "table.patience=0",
    "search.n_measurements=16",
]


@pytest.fixture(scope="session")
def quick():
    """The words of a command that make a run short."""
    return [word for change in QUICK for word in ("--set", change)]


@pytest.fixture(scope="session")
def finished(tmp_path_factory, quick):
    """A finished run, not to be changed."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    assert main(["run", DIGITS, "--out", str(folder), *quick]) == 0
    return folder


@pytest.fixture
def run(finished, tmp_path):
    """A copy that a test may spoil."""
    return Path(shutil.copytree(finished, tmp_path / "run"))
