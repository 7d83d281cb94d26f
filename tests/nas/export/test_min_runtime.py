"""Every exported form is opened by the least onnxruntime that it names."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import platformdirs
import pytest
from filelock import FileLock

from nas.export.min_runtime import PACKED, PLAIN, min_onnxruntime
from search_spaces import SPACES, lower
from search_spaces.space.baselines import uniform_genome

BEFORE_PACKED = "1.22"
RUN = """
import sys
import numpy as np
import onnxruntime
onnxruntime.set_default_logger_severity(3)
assert onnxruntime.__version__.startswith(sys.argv[1]), onnxruntime.__version__
session = onnxruntime.InferenceSession(sys.argv[2] + "/model.onnx", providers=["CPUExecutionProvider"])
np.save(sys.argv[2] + "/logits.npy", session.run(None, {"images": np.load(sys.argv[2] + "/images.npy")})[0])
"""


def installed(version):
    """Return a folder with that onnxruntime and nothing else, kept between runs."""
    folder = Path(platformdirs.user_cache_dir("hwnas-tests")) / f"onnxruntime-{version}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not (folder / "onnxruntime").exists():
            shutil.rmtree(folder, ignore_errors=True)
            draft = folder.with_suffix(".draft")
            words = ["install", "--quiet", "--no-deps", "--target", str(draft), f"onnxruntime=={version}.*"]
            try:
                subprocess.run([sys.executable, "-m", "pip", *words], check=True, capture_output=True, timeout=120)
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
                shutil.rmtree(draft, ignore_errors=True)
                pytest.skip(f"onnxruntime {version} cannot be downloaded for this Python")
            draft.rename(folder)
    return folder


def opened(model, version, images, folder):
    """Run a model there; return what it says of itself, and the logits or None."""
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    np.save(folder / "images.npy", images)
    command = [sys.executable, "-c", RUN, version, str(folder)]
    found = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(installed(version))})
    return found.stderr, np.load(folder / "logits.npy") if found.returncode == 0 else None


@pytest.mark.parametrize("int4", [False, True])
@pytest.mark.parametrize("batch", [1, "batch"])
@pytest.mark.parametrize("precision", ["float32", "w8a8", "w4a8", "w3a4-tensor-asymmetric"])
@pytest.mark.parametrize("name", ["mobilenet-v3-digits", "resnet-digits", "vit-digits"])
def test_the_least_version_that_is_named_runs_it(name, precision, batch, int4, tmp_path, rng):
    space = SPACES.get(name)(formats=tuple(dict.fromkeys(["float32", precision])))
    model = lower(space.subnet(uniform_genome(space, "smallest", precision)).graph, batch=batch, int4=int4)
    minimum = min_onnxruntime(model)
    assert minimum == (PACKED if int4 and precision.startswith(("w3", "w4")) else PLAIN)
    images = rng.normal(size=(1 if batch == 1 else 3, 1, 8, 8)).astype(np.float32)
    said, logits = opened(model, minimum, images, tmp_path)
    assert logits is not None, said
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(logits, session.run(None, {"images": images})[0], atol=1e-3)


def test_the_version_before_does_not(tmp_path, rng):
    space = SPACES.get("mobilenet-digits")()
    model = lower(space.subnet(uniform_genome(space, "smallest", "w4a4")).graph, int4=True)
    images = rng.normal(size=(1, 1, 8, 8)).astype(np.float32)
    said, logits = opened(model, BEFORE_PACKED, images, tmp_path)
    assert logits is None
    assert "Cast(21)" in said
