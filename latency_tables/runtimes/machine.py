"""Facts of the machine that decide how long a network takes."""

import platform
import re
from functools import cache
from pathlib import Path


@cache
def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""


def cpu_model() -> str:
    """Return the processor's name, with family and model where Linux tells them."""
    found = {}
    for key in ("model name", "cpu family", "model"):
        if match := re.search(rf"^{key}\s*:\s*(.+)$", _cpuinfo(), re.M):
            found[key] = match[1].strip()
    if "model name" not in found:
        return platform.processor() or platform.machine()
    return f"{found['model name']} ({found.get('cpu family', '?')}/{found.get('model', '?')})"


def has_vnni() -> bool:
    """Return whether the processor multiplies uint8 by int8 without saturating on the way (x86 VNNI)."""
    return re.search(r"\bavx(512)?_vnni\b", _cpuinfo()) is not None
