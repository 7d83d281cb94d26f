"""One short but real run of the command, which every test of a run folder copies."""

import json
import shutil
from pathlib import Path

import pytest

from nas.cli.command import main

DIGITS = str(Path(__file__).parents[2] / "experiments" / "digits.yaml")
QUICK = [
    "threads=1",
    "training.compile=false",
    "search.n_calibration=250",
    "search.batch=8",
    "training.float_epochs=2",
    "training.quantized_epochs=1",
    "table.n_fit=12",
    "table.n_held_out=12",
    "table.rounds=2",
    "table.seconds=0.002",
    "table.retry_budget=0",
    "search.n_measurements=16",
]


@pytest.fixture(scope="session")
def quick():
    """The words of a command that make a run short."""
    return [word for change in QUICK for word in ("--set", change)]


@pytest.fixture(scope="session")
def finished(built_once, quick):
    """A finished run, not to be changed."""

    def build(folder):
        assert main(["run", DIGITS, "--out", str(folder / "digits"), *quick]) == 0

    return built_once("finished", build) / "digits"


@pytest.fixture
def run(finished, tmp_path):
    """A copy that a test may spoil."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def failing(capsys):
    """Runs a command that must fail, by default as bad input, and gives the one sentence that it says."""

    def run_it(arguments, code=2):
        assert main([str(a) for a in arguments]) == code
        message = capsys.readouterr().err
        lines = [line for line in message.splitlines() if line.startswith("hwnas: ")]
        assert len(lines) == 1
        assert "Traceback" not in message
        return lines[0]

    return run_it


@pytest.fixture
def change_table():
    """Changes what the latency table of a run holds."""

    def change(run, **changes):
        path = run / "latency" / "onnxruntime-1t.json"
        content = json.loads(path.read_text())
        content.pop("digest", None)
        for key, value in changes.items():
            if isinstance(value, dict):
                content[key].update(value)
            else:
                content[key] = value
        path.write_text(json.dumps(content))

    return change
