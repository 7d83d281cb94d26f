"""Apache TVM, compiled for this processor; the extra `tvm`.

Schedules are TVM's own defaults, not tuned; see docs/own-device.md for what works. Integer models are compiled as they
stand: dequantize, compute in float32, quantize.
"""

import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latency_tables.runtimes.runtime import RUNTIMES, Runner, feed, missing
from search_spaces.errors import InvalidInputError


class Tvm:
    """Times the compiled function with TVM's own evaluator. The one option is `mcpu`, LLVM's name of the processor."""

    integer_kernels: tuple[str, ...] = ()
    process = 0

    def version(self) -> str:
        """See `Runtime`."""
        return str(_tvm().__version__)

    def build(self, model: bytes, *, threads: int, options: Mapping[str, str]) -> Runner:
        """See `Runtime`."""
        tvm = _tvm()
        if unknown := sorted(set(options) - {"mcpu"}):
            raise InvalidInputError(f"the options of TVM are ['mcpu'], got {unknown}")
        compiled, inputs = _compile(model, options.get("mcpu", ""))
        _set_threads(threads)
        machine = tvm.relax.VirtualMachine(compiled, tvm.cpu())
        given = [tvm.runtime.tensor(feed(shape, dtype), tvm.cpu()) for shape, dtype in inputs]

        def run(n: int) -> NDArray[np.float64]:
            return np.array(machine.time_evaluator("main", tvm.cpu(), number=1, repeat=n)(*given).results)

        return run

    def outputs(self, model: bytes, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Runtime`."""
        tvm = _tvm()
        compiled, _ = _compile(model, "")
        outputs = tvm.relax.VirtualMachine(compiled, tvm.cpu())["main"](tvm.runtime.tensor(inputs, tvm.cpu()))
        return np.asarray(outputs.numpy(), dtype=np.float32)


def _tvm() -> Any:
    os.environ.setdefault("TVM_BIND_THREADS", "0")  # read once, when TVM starts its threads
    try:
        import tvm
        import tvm.relax.frontend.onnx
    except ImportError as error:
        raise missing("TVM", "install it with `pip install 'hwnas[tvm]'`") from error
    return tvm


def _set_threads(threads: int) -> None:
    every_core = 1
    _tvm().get_global_func("runtime.config_threadpool")(every_core, threads)


@lru_cache(maxsize=2048)
def _compile(model: bytes, mcpu: str) -> tuple[Any, list[tuple[tuple[int, ...], np.dtype[Any]]]]:
    """Return a compiled model, and of each input its shape and type.

    Compiling takes seconds, so a model that is timed in many rounds is compiled once.
    """
    import onnx

    tvm = _tvm()
    proto = onnx.load_from_string(model)
    types = [tensor.type.tensor_type for tensor in proto.graph.input]
    dtype = onnx.helper.tensor_dtype_to_np_dtype
    inputs = [(tuple(axis.dim_value for axis in t.shape.dim), dtype(t.elem_type)) for t in types]
    target = tvm.target.Target({"kind": "llvm", "mcpu": mcpu or tvm.target.codegen.llvm_get_system_cpu()})
    module = tvm.relax.frontend.onnx.from_onnx(proto, keep_params_in_input=False)
    with target:
        module = tvm.relax.get_pipeline("zero")(module)
    return tvm.compile(module, target=target), inputs


RUNTIMES.register("tvm")(Tvm())
