"""onnxruntime on the CPU."""

import platform
from collections.abc import Mapping

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from latency_tables.runtimes.machine import has_vnni
from latency_tables.runtimes.runtime import RUNTIMES, Runner, feed, timed
from search_spaces.errors import InvalidInputError

PRESENT = "/present"  # ends the name of what takes the place of an input in the next call
ELEMENTS: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(bool)": np.bool_,
    **{f"tensor({kind.__name__})": kind for kind in (np.int8, np.int16, np.int32, np.int64)},
    **{f"tensor({kind.__name__})": kind for kind in (np.uint8, np.uint16, np.uint32, np.uint64)},
}
"""By onnxruntime's words for what a tensor holds."""
OPTION_PREFIXES = ("session.", "optimization.", "memory.", "mlas.", "ep.")


class OnnxRuntime:
    """Times `run` on bound, preallocated buffers: no copy of input or output is counted.

    What a model gives as `NAME/present` it writes over the input `NAME`, as one that keeps a cache between calls does.
    """

    integer_kernels: tuple[str, ...] = ("Conv", "Linear", "Add", "GlobalAveragePool")
    process = 0
    has_contrib = True

    def version(self) -> str:
        """See `Runtime`."""
        return str(onnxruntime.__version__)

    def build(self, model: bytes, *, threads: int, options: Mapping[str, str]) -> Runner:
        """See `Runtime`; `options` are entries of onnxruntime's session configuration."""
        session = open_session(model, threads=threads, options=options)
        binding = session.io_binding()
        bound = {}
        for taken in session.get_inputs():
            inputs = feed(taken.shape, ELEMENTS[taken.type])
            bound[taken.name] = onnxruntime.OrtValue.ortvalue_from_numpy(inputs)
            binding.bind_ortvalue_input(taken.name, bound[taken.name])
        for given in session.get_outputs():
            value = bound.get(given.name.removesuffix(PRESENT))
            if value is None:
                value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(given.shape, np.float32)
            binding.bind_ortvalue_output(given.name, value)

        return timed(session.run_with_iobinding, binding)

    def outputs(self, model: bytes, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Runtime`."""
        session = open_session(model)
        (outputs,) = session.run(None, {session.get_inputs()[0].name: inputs})
        return np.asarray(outputs, dtype=np.float32)


def open_session(
    model: bytes | str,
    *,
    threads: int = 1,
    options: Mapping[str, str] | None = None,
    optimized_to: str | None = None,
    optimizes: bool = True,
) -> onnxruntime.InferenceSession:
    """Open a session on the CPU with pinned threads.

    Args:
        model: Serialized ONNX, or the path of a file.
        threads: Threads within an operator; operators run one after another.
        options: Entries of the session configuration.
        optimized_to: Where to write the optimized graph, to look at.
        optimizes: False: every operator is computed as it stands.

    Raises:
        InvalidInputError: If an option cannot be one.
    """
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    settings.log_severity_level = 3
    if platform.machine() in ("x86_64", "AMD64") and not has_vnni():
        # Without VNNI the sum of two u8 x s8 products saturates at 16 bits.
        settings.add_session_config_entry("session.x64quantprecision", "1")
    for key, value in (options or {}).items():
        if not key.startswith(OPTION_PREFIXES):  # onnxruntime takes any key, and ignores what it does not know
            raise InvalidInputError(f"options of onnxruntime begin with one of {list(OPTION_PREFIXES)}, got '{key}'")
        settings.add_session_config_entry(key, value)
    if not optimizes:
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if optimized_to is not None:
        settings.optimized_model_filepath = optimized_to
    return onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])


RUNTIMES.register("onnxruntime")(OnnxRuntime())
