"""Further forms of an exported network, for other tools: each is written, run by its own tool, and refused if it differs."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file

from nas.export.targets import openvino
from nas.export.targets.qonnx import run_qonnx, to_qonnx
from nas.export.targets.torch_module import module_source
from search_spaces.graph.graph import Graph
from search_spaces.graph.node import Weights
from search_spaces.registry import Registry

N_QONNX_SAMPLES = 512  # its executor holds all tensors of all of them


@dataclass(frozen=True)
class Deployed:
    """The network that a target writes.

    Attributes:
        graph: What it is.
        weights: As `lower` takes them.
        model: As onnxruntime runs it, with a batch of one.
        inputs: Raw, shape `(n, *graph.input_shape)`.
        expected: What the trained network gives for them, shape `(n, ...)`.
    """

    graph: Graph
    weights: Weights
    model: onnx.ModelProto
    inputs: NDArray[np.float32]
    expected: NDArray[np.float32]


Target = Callable[[Deployed, Path], NDArray[np.float32]]
"""Writes files into a folder and returns the outputs that its own tool computes from them for the first inputs."""

TARGETS: Registry[Target] = Registry("export target")
DEFAULT = "onnxruntime"  # nothing more is written: model.onnx is in every folder


@TARGETS.register("torch")
def write_torch(deployed: Deployed, folder: Path) -> NDArray[np.float32]:
    """Write `model.py`, a torch module that needs torch and safetensors alone, and `model.safetensors`."""
    (folder / "model.py").write_text(module_source(deployed.graph))
    inputs = torch.from_numpy(deployed.inputs)
    save_file({name: np.ascontiguousarray(array) for name, array in deployed.weights.items()}, folder / "model.safetensors")
    source = folder / "model.py"
    names = {"__file__": str(source), "__name__": "hwnas_exported_model"}  # not imported: that would leave a __pycache__
    exec(compile(source.read_text(), str(source), "exec"), names)
    module = names["load"]()  # type: ignore[operator]
    with torch.no_grad():
        outputs: NDArray[np.float32] = torch.cat([module(part) for part in torch.split(inputs, 512)]).numpy()
    return outputs


@TARGETS.register("qonnx")
def write_qonnx(deployed: Deployed, folder: Path) -> NDArray[np.float32]:
    """Write `model.qonnx.onnx` with Quant operators that say how many bits a tensor has, for FPGA flows."""
    model = to_qonnx(deployed.model, deployed.graph, deployed.weights)
    onnx.save(model, folder / "model.qonnx.onnx")
    return run_qonnx(model, deployed.inputs[:N_QONNX_SAMPLES])


@TARGETS.register("openvino")
def write_openvino(deployed: Deployed, folder: Path) -> NDArray[np.float32]:
    """Write OpenVINO's own form, `model.xml` and `model.bin`."""
    openvino.write_model(deployed.model, folder)
    run, taken = openvino.open_model(folder), deployed.model.graph.input[0].name
    answers = (next(iter(run({taken: one[None]}).values())) for one in deployed.inputs)
    return np.concatenate([np.asarray(answer, np.float32) for answer in answers])
