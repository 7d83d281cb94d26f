"""OpenVINO on the CPU; the extra `openvino`."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latency_tables.runtimes.runtime import RUNTIMES, Runner, feed, missing, timed
from search_spaces.errors import InvalidInputError


class OpenVino:
    """Times one infer request on preallocated buffers. `options` are properties of the CPU plugin."""

    integer_kernels: tuple[str, ...] = ("Conv", "Linear", "Add", "GlobalAveragePool")
    process = 0

    def version(self) -> str:
        """See `Runtime`."""
        return str(_openvino().__version__)

    def build(self, model: bytes, *, threads: int, options: Mapping[str, str]) -> Runner:
        """See `Runtime`."""
        request = _compile(model, threads, tuple(sorted(options.items()))).create_infer_request()
        for index in range(len(request.model_inputs)):
            taken = request.get_input_tensor(index)
            taken.data[:] = feed(taken.shape, taken.data.dtype)
        return timed(request.infer)

    def outputs(self, model: bytes, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Runtime`."""
        outputs = _compile(model, 1, ())(inputs)
        return np.asarray(outputs[0], dtype=np.float32)


def _openvino() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise missing("OpenVINO", "install it with `pip install 'hwnas[openvino]'`") from error
    return openvino


@lru_cache(maxsize=2048)
def _compile(model: bytes, threads: int, options: tuple[tuple[str, str], ...]) -> Any:
    """Compiling takes tens of milliseconds, so a model that is timed in many rounds is compiled once."""
    openvino = _openvino()
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": "f32",  # never bfloat16 in secret
        "ENABLE_CPU_PINNING": False,
        **dict(options),
    }
    core = openvino.Core()
    try:
        return core.compile_model(core.read_model(model), "CPU", settings)
    except RuntimeError as error:
        raise InvalidInputError(
            f"OpenVINO refuses the model or an option of {dict(options)}: {str(error).strip()[-300:]}"
        ) from error


RUNTIMES.register("openvino")(OpenVino())
