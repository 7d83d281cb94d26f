"""OpenVINO's own form of a network: written, and opened."""

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from latency_tables.runtimes import RUNTIMES

FILE = "model.xml"  # beside it: model.bin
EXACT = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0", "INFERENCE_NUM_THREADS": 1}


def write_model(model: onnx.ModelProto, folder: Path) -> None:
    """Write it into a folder, nothing of it in fewer bits than the model has.

    Raises:
        NotReadyError: If OpenVINO is missing.
    """
    openvino = _openvino()
    openvino.save_model(openvino.Core().read_model(model.SerializeToString()), folder / FILE, compress_to_fp16=False)


def open_model(folder: Path) -> Callable[[Mapping[str, NDArray[Any]]], dict[str, NDArray[Any]]]:
    """Return what runs it, from all inputs by name to all outputs by name; OpenVINO is told not to round activations.

    Raises:
        NotReadyError: If OpenVINO is missing.
    """
    compiled = _openvino().Core().compile_model(folder / FILE, "CPU", EXACT)

    def run(feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        given = compiled(dict(feeds))
        return {name: np.array(given[output]) for output in compiled.outputs for name in output.names}

    return run


def _openvino() -> Any:
    RUNTIMES.get("openvino").version()  # says how to install it where it is missing
    return importlib.import_module("openvino")
