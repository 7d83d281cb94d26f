"""The exported folder: the model, what it is, and the proof that it computes what was trained."""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from latency_tables.timing.measurement import Measurement
from nas.data.dataset import SIZES, Dataset
from nas.export.card import card, program
from nas.export.folder import Exported, check_folder, drafted, timed
from nas.export.min_runtime import check_runtime, min_onnxruntime
from nas.export.targets.qonnx import has_qonnx
from nas.export.targets.targets import DEFAULT, TARGETS, Deployed, Target
from nas.export.verification.parity import Parity, check_parity, is_sub8bit, predictions
from nas.objectives.supernet_evaluator import SupernetEvaluator, predict
from nas.supernet.deploy import extract
from nas.tasks.task import Task
from search_spaces.costs import graph_costs
from search_spaces.errors import VerificationError
from search_spaces.graph.graph import Graph
from search_spaces.graph.node import Node
from search_spaces.lowering import IR_VERSION, OPSET, lower
from search_spaces.space.baselines import formats
from search_spaces.space.subnet import Subnet

N_PARITY_SAMPLES = 10_000
MIN_PARITY_SAMPLES = 500  # of networks that give an answer for each pixel
N_SAMPLES = 8
MIN_AGREEMENT_OF_OPENVINO = 95.0  # percent: it rounds in its own way where it fuses operators


def export_bundle(
    evaluator: SupernetEvaluator,
    subnet: Subnet,
    folder: Path,
    *,
    seed: int,
    facts: Mapping[str, Any] | None = None,
    found: Mapping[str, Any] | None = None,
    target: str = DEFAULT,
    dynamic_batch: bool = False,
    int4: bool = False,
    time_file: Callable[[bytes], Measurement] | None = None,
) -> Exported:
    """Write `model.onnx`, `subnet.json`, `parity.json`, a model card, a program that runs it and samples, all or nothing.

    A target adds its own files.

    Args:
        evaluator: Holds the trained supernet, the task and the data, whose samples prove the parity; augmented until there
            are 10,000.
        subnet: The subnet.
        folder: Must not exist, or be empty.
        seed: Of the augmented samples, and of the split of the data.
        facts: What is known of the subnet, such as its measured error; goes into `subnet.json`.
        found: How it was found, see `nas.run.provenance`; goes there too.
        target: Of `nas.export.targets`: what else is written, for which tool. QONNX is written without being asked for
            below 8 bits, where `model.onnx` cannot say how many there are, if its package is installed.
        dynamic_batch: Whether `model.onnx` takes any number of samples at once.
        int4: Whether `model.onnx` stores weights of up to 4 bits two a byte; see `search_spaces.lower`.
        time_file: Times `model.onnx` on the device of the facts; None where that is remote.

    Raises:
        InvalidInputError: If the folder holds something or cannot be written, or the target is unknown or its tool missing,
            or the onnxruntime that is here is too old for the model.
        VerificationError: If parity fails; the message says why.
    """
    check_folder(folder)
    supernet, task, data = evaluator.supernet, evaluator.task, evaluator.data
    graph = subnet.graph
    targets = _targets(graph, target)
    calibration = evaluator.calibrate(graph)
    weights = extract(supernet, graph, calibration)
    batch = "batch" if dynamic_batch else 1
    model = lower(graph, weights, batch=batch, int4=int4)
    check_runtime(model)
    inputs = parity_inputs(task, data, seed)
    expected = predict(supernet, graph, calibration, torch.from_numpy(inputs)).numpy()
    parity = check_parity(model, graph, weights, inputs, expected, task.agreement)
    if parity.reasons:
        way_out = "train longer, or choose another subnet with `hwnas front`"
        raise VerificationError(f"subnet {subnet.id} is not exported: {'; '.join(parity.reasons)}; {way_out}")
    content = model.SerializeToString()
    measured = dict(facts or {}) | timed(content, time_file)
    description = {
        "id": subnet.id,
        "architecture": json.loads(subnet.to_json()),
        "space_digest": subnet.space.origin.digest,
        "formats": formats(supernet.space),
        "task": task.name,
        "data": _data(data, seed),
        "input": _tensor(graph.nodes[0], batch) | task.describe()["inputs"],
        "output": _tensor(graph.output, batch) | task.describe()["outputs"],
        "onnx": {
            "opset": OPSET,
            "ir_version": IR_VERSION,
            "bytes": len(content),
            "int4": int4,
            "min_onnxruntime": min_onnxruntime(model),
        },
        "costs": graph_costs(graph),
        "measured": measured,
        "found": dict(found or {}),
    }
    with drafted(folder) as draft:
        (draft / "model.onnx").write_bytes(content)
        deployed = Deployed(graph, weights, lower(graph, weights), inputs, expected)
        agreements = {
            name: _agreement(task, write(deployed, draft), expected, parity, name) for name, write in targets.items()
        }
        verification = parity.to_dict() | {"targets": agreements}
        (draft / "subnet.json").write_text(json.dumps(description, indent=1) + "\n")
        (draft / "parity.json").write_text(json.dumps(verification, indent=1) + "\n")
        (draft / "README.md").write_text(card(description, graph, parity, task, data, agreements))
        (draft / "predict.py").write_text(program(task))
        few = inputs[:N_SAMPLES]
        samples: dict[str, Any] = {graph.nodes[0].name: few, graph.output.name: predictions(model, few)}
        np.savez(draft / "samples.npz", **samples)
    return Exported(folder, verification)


def _targets(graph: Graph, asked: str) -> dict[str, Target]:
    names = {asked} - {DEFAULT} | ({"qonnx"} if is_sub8bit(graph) and has_qonnx() else set())
    return {name: TARGETS.get(name) for name in sorted(names)}


def _data(data: Dataset, seed: int) -> dict[str, Any]:
    """Return what it takes to load the same data set again."""
    options = {"options": dict(data.options)} if data.options else {}
    return {"name": data.name, "digest": data.digest, "n_val": data.size("val"), "seed": seed, **options}


def _tensor(node: Node, batch: int | str) -> dict[str, Any]:
    """Return what a caller must know of an input or output."""
    (tensor,) = node.outputs
    return {"name": tensor.name, "type": tensor.dtype, "shape": [batch, *tensor.shape]}


def _agreement(
    task: Task, found: NDArray[np.float32], expected: NDArray[np.float32], parity: Parity, target: str
) -> dict[str, int | float]:
    """Return on how many samples a target's own tool ran, and on what percentage it answers as the trained network does.

    Raises:
        VerificationError: If those are too few; a single sample may always differ.
    """
    same = task.agreement(found, expected[: len(found)])
    agreement = 100 * float(same.mean())
    required = MIN_AGREEMENT_OF_OPENVINO if target == "openvino" else parity.required_agreement
    if agreement < required and (~same).sum() > 1:
        raise VerificationError(
            f"the subnet is not exported: of {len(same)} answers by {target} {agreement:.2f} % equal the trained network's, "
            f"{required} % must"
        )
    return {"samples": len(same), "agreement": agreement}


def parity_inputs(task: Task, data: Dataset, seed: int, n: int = N_PARITY_SAMPLES) -> NDArray[np.float32]:
    """Return `n` inputs, test split first, as different ones as there are first; where a data set has fewer, augmented.

    A network that answers for each pixel is asked about fewer, 500 at least.
    Of pictures of any size they are windows of the size at which the network is exported, as many as there are.
    """
    if SIZES in data.test:
        return np.concatenate([data.windows(split, task.inputs[0].shape) for split in ("test", "val")])[:n]
    n = max(min(n, MIN_PARITY_SAMPLES), n // math.prod(task.outputs[0].shape[1:]))
    ordered = {name: array[task.order(data.test)] for name, array in data.test.items()}
    splits = (ordered, data.val, data.train)
    samples = {name: torch.from_numpy(np.concatenate([split[name] for split in splits])) for name in data.test}
    generator = torch.Generator().manual_seed(seed)
    parts = [samples[data.inputs][:n]]
    while sum(map(len, parts)) < n:
        parts.append(task.augment(samples, 1, generator)[data.inputs])
    result: NDArray[np.float32] = torch.cat(parts)[:n].numpy()
    return result
