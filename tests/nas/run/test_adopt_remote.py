"""An adopted model whose device is elsewhere: bundles go there, results come back."""

import subprocess
import sys

import numpy as np
import pytest

from nas.cli.command import main
from nas.run.adoption import Adoption
from search_spaces.errors import NotReadyError
from tests.onnx_models import saved, small_network


def test_tables_and_networks_are_timed_elsewhere(tmp_path, failing):
    samples = np.random.default_rng(0).standard_normal((48, 1, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=samples)
    settings = {"model": str(saved(small_network(), tmp_path / "small.onnx")), "samples": str(tmp_path / "data.npz")}
    table = {"rounds": 2, "seconds": 0.002, "n_fit": 10, "n_held_out": 10, "retry_budget": 0.0}
    run = Adoption.create(
        {
            "name": "board",
            "threads": 1,
            "adopt": settings,
            "devices": {"board": {"remote": True}},
            "table": table,
            "search": {"n_measurements": 8},
        },
        tmp_path / "run",
    )
    folder = str(run.folder.path)

    def there_and_back(bundle):
        result = tmp_path / "result.json"
        subprocess.run([sys.executable, bundle, "--out", result], check=True, capture_output=True)
        assert main(["measure", folder, "--from", str(result)]) == 0

    with pytest.raises(NotReadyError, match=r"hwnas measure .* --pack bundle.zip"):
        run.run()
    assert main(["measure", folder, "--pack", str(tmp_path / "bundle.zip")]) == 0
    there_and_back(tmp_path / "bundle.zip")
    assert f"and `hwnas adopt {folder}` again" in failing(["adopt", folder])
    there_and_back(run.folder.path / "latency" / "board.front.zip")
    assert main(["adopt", folder]) == 0
    assert (Adoption.open(folder).front()["latency_ms"] > 0).all()
