"""onnxruntime-web: WebAssembly, run in Node instead of a browser.

The npm package is pinned by `web/package-lock.json`; `npm ci` in a copy of that folder, named by the environment variable
`HWNAS_WEB` or in the user's data folder, makes it available.
"""

import atexit
import base64
import json
import os
import shutil
import subprocess
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latency_tables.runtimes.runtime import RUNTIMES, Runner, missing
from search_spaces.errors import InvalidInputError

SOURCE = Path(__file__).parent / "web"


class OnnxRuntimeWeb:
    """Times `session.run` inside Node, which it talks to by lines of JSON. The one option is `graphOptimizationLevel`."""

    integer_kernels: tuple[str, ...] = ("Conv", "Linear", "Add", "GlobalAveragePool")

    def __init__(self) -> None:
        self._node: subprocess.Popen[str] | None = None

    @property
    def process(self) -> int:
        """Id of the Node process."""
        return self._started().pid

    def version(self) -> str:
        """See `Runtime`."""
        found = self._ask(version=True)
        return f"{found['version']} (node {found['node']})"

    def build(self, model: bytes, *, threads: int, options: Mapping[str, str]) -> Runner:
        """See `Runtime`; inputs are a fixed wave."""
        if unknown := sorted(set(options) - {"graphOptimizationLevel"}):
            raise InvalidInputError(f"the options of onnxruntime-web are ['graphOptimizationLevel'], got {unknown}")
        session = _Session(self, model, threads, options)

        def run(n: int) -> NDArray[np.float64]:
            return np.array(self._ask(run=session.id, n=n)["seconds"])

        return run

    def outputs(self, model: bytes, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Runtime`."""
        session = _Session(self, model, 1, {})
        found = self._ask(outputs=session.id, inputs=inputs.ravel().tolist())
        return np.array(found["values"], dtype=np.float32).reshape(found["shape"])

    def _started(self) -> "subprocess.Popen[str]":
        if self._node is None or self._node.poll() is not None:
            node = shutil.which("node")
            if node is None:
                raise missing("Node", "install Node 20 or newer and see docs/own-device.md")
            command = [node, str(SOURCE / "serve.mjs"), str(_packages())]
            self._node = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            atexit.register(self._stop)
        return self._node

    def _stop(self) -> None:
        if self._node is not None:
            self._node.kill()
            self._node.communicate()

    def _ask(self, **request: Any) -> dict[str, Any]:
        node = self._started()
        assert node.stdin is not None
        assert node.stdout is not None
        try:
            node.stdin.write(json.dumps(request) + "\n")
            node.stdin.flush()
            answer = json.loads(node.stdout.readline())
        except (OSError, ValueError) as error:
            raise InvalidInputError(f"Node has stopped while timing onnxruntime-web: {error}") from error
        if "error" in answer:
            raise InvalidInputError(f"onnxruntime-web refuses: {answer['error']}")
        return dict(answer)


class _Session:
    """A session in Node, released when it is no longer used here."""

    def __init__(self, backend: OnnxRuntimeWeb, model: bytes, threads: int, options: Mapping[str, str]) -> None:
        text = base64.b64encode(model).decode()
        self.id = backend._ask(build=text, threads=threads, options=dict(options))["id"]
        weakref.finalize(self, backend._ask, release=self.id).atexit = False


def _packages() -> Path:
    """Return the folder that holds `node_modules`."""
    import platformdirs

    given = os.environ.get("HWNAS_WEB")
    folders = [Path(given)] if given else [SOURCE, Path(platformdirs.user_data_dir("hwnas")) / "web"]
    for folder in folders:
        if (folder / "node_modules" / "onnxruntime-web").is_dir():
            return folder.resolve()
    raise missing("onnxruntime-web", f"copy '{SOURCE}' to '{folders[-1]}' and run `npm ci` there, see docs/own-device.md")


RUNTIMES.register("onnxruntime-web")(OnnxRuntimeWeb())
