"""The exported folder: the model, what it is, and the proof that it computes what was trained."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from latency_tables.timing.measurement import Measurement
from nas.data.augment import shift
from nas.data.dataset import Dataset
from nas.export.card import PREDICT, card
from nas.export.min_runtime import check_runtime, min_onnxruntime
from nas.export.targets.qonnx import has_qonnx
from nas.export.targets.targets import DEFAULT, TARGETS, Deployed, Target
from nas.export.verification.parity import Parity, check_parity, is_sub8bit, predictions
from nas.export.verification.verify import SUMS
from nas.objectives.evaluator import Evaluator, predict
from nas.supernet.deploy import extract
from search_spaces.costs import graph_costs
from search_spaces.errors import CheckFailed, InvalidInput
from search_spaces.graph.graph import Graph
from search_spaces.lowering import IR_VERSION, OPSET, lower
from search_spaces.space.baselines import formats
from search_spaces.space.subnet import Subnet

N_PARITY_IMAGES = 10_000
N_SAMPLES = 8
MIN_AGREEMENT_OF_OPENVINO = 95.0  # percent: it rounds in its own way where it fuses operators


class ParityFailed(CheckFailed):
    """The exported file does not compute what was trained; nothing was written."""


def export_bundle(
    evaluator: Evaluator,
    data: Dataset,
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
) -> dict[str, Any]:
    """Write `model.onnx`, `subnet.json`, `parity.json`, a model card, a program that runs it and samples, all or nothing.

    A target adds its own files. Returns what `parity.json` holds.

    Args:
        evaluator: Holds the trained supernet.
        data: Its images prove the parity; moved by a pixel until there are 10,000.
        subnet: The subnet.
        folder: Must not exist, or be empty.
        seed: Of the moved images, and of the split of the data.
        facts: What is known of the subnet, such as its measured error; goes into `subnet.json`.
        found: How it was found, see `nas.run.provenance`; goes there too.
        target: Of `nas.export.targets`: what else is written, for which tool. QONNX is written without being asked for
            below 8 bits, where `model.onnx` cannot say how many there are, if its package is installed.
        dynamic_batch: Whether `model.onnx` takes any number of images at once.
        int4: Whether `model.onnx` stores weights of up to 4 bits two a byte; see `search_spaces.lower`.
        time_file: Times `model.onnx` on the device of the facts; None where that is remote.

    Raises:
        InvalidInput: If the folder holds something or cannot be written, or the target is unknown or its tool missing,
            or the onnxruntime that is here is too old for the model.
        ParityFailed: If parity fails; the message says why.
    """
    check_folder(folder)
    supernet = evaluator.supernet
    graph = subnet.graph
    targets = _targets(graph, target)
    calibration = evaluator.calibrate(graph)
    weights = extract(supernet, graph, calibration)
    batch = "batch" if dynamic_batch else 1
    model = lower(graph, weights, batch=batch, int4=int4)
    check_runtime(model)
    images = parity_images(data, seed)
    expected = predict(supernet, graph, calibration, torch.from_numpy(images)).numpy()
    parity = check_parity(model, graph, weights, images, expected)
    if parity.reasons:
        way_out = "train longer, or choose another subnet with `hwnas front`"
        raise ParityFailed(f"subnet {subnet.id} is not exported: {'; '.join(parity.reasons)}; {way_out}")
    measured, content = dict(facts or {}), model.SerializeToString()
    if time_file:
        timed = time_file(content)
        measured |= {"file_latency_ms": timed.ms, "file_latency_spread": timed.spread}
    description = {
        "id": subnet.id,
        "architecture": json.loads(subnet.to_json()),
        "space_digest": subnet.space.digest,
        "formats": formats(supernet.space),
        "data": {"name": data.name, "digest": data.digest, "n_val": len(data.x_val), "seed": seed},
        "input": {
            "name": graph.nodes[0].name,
            "type": "float32",
            "shape": [batch, *data.image_shape],
            "values": "raw pixels",
        },
        "output": {"name": graph.output.name, "type": "float32", "shape": [batch, data.n_classes], "values": "logits"}
        | ({"classes": list(data.classes)} if data.classes else {}),
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
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise InvalidInput(f"cannot write to '{folder}': {error.strerror}") from error
    try:
        (draft / "model.onnx").write_bytes(content)
        deployed = Deployed(graph, weights, lower(graph, weights), images, expected)
        agreements = {name: _agreement(write(deployed, draft), expected, parity, name) for name, write in targets.items()}
        verification = parity.to_dict() | {"targets": agreements}
        (draft / "subnet.json").write_text(json.dumps(description, indent=1) + "\n")
        (draft / "parity.json").write_text(json.dumps(verification, indent=1) + "\n")
        (draft / "README.md").write_text(card(description, graph, parity, data, agreements))
        (draft / "predict.py").write_text(PREDICT)
        np.savez(draft / "samples.npz", images=images[:N_SAMPLES], logits=predictions(model, images[:N_SAMPLES]))
        checksums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(draft.iterdir())}
        (draft / SUMS).write_text("".join(f"{digest}  {name}\n" for name, digest in checksums.items()))
        for path in (draft, *draft.iterdir()):
            path.chmod(0o755 if path.is_dir() else 0o644)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return verification


def _targets(graph: Graph, asked: str) -> dict[str, Target]:
    names = {asked} - {DEFAULT} | ({"qonnx"} if is_sub8bit(graph) and has_qonnx() else set())
    return {name: TARGETS.get(name) for name in sorted(names)}


def _agreement(
    logits: NDArray[np.float32], expected: NDArray[np.float32], parity: Parity, target: str
) -> dict[str, int | float]:
    """Return on how many images a target's own tool ran, and on what percentage it answers as the trained network does.

    Raises:
        ParityFailed: If those are too few; a single image may always differ.
    """
    same = logits.argmax(axis=1) == expected[: len(logits)].argmax(axis=1)
    agreement = 100 * float(same.mean())
    required = MIN_AGREEMENT_OF_OPENVINO if target == "openvino" else parity.required_agreement
    if agreement < required and (~same).sum() > 1:
        raise ParityFailed(
            f"the subnet is not exported: of {len(same)} answers by {target} {agreement:.2f} % equal the trained network's, "
            f"{required} % must"
        )
    return {"images": len(same), "agreement": agreement}


def check_folder(folder: Path) -> None:
    """Raise `InvalidInput` if something is in the way of a bundle."""
    if folder.exists() and not folder.is_dir():
        raise InvalidInput(f"'{folder}' exists already and is no folder; choose another one")
    if folder.exists() and any(folder.iterdir()):
        raise InvalidInput(f"'{folder}' exists already and is not empty; choose another folder, or remove it first")


def classes_in_turn(labels: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return an order of labels, shape `(n,)`: the first of each class, then the second of each, and so on."""
    rank = np.zeros(len(labels), int)
    for label in np.unique(labels):
        rank[labels == label] = np.arange((labels == label).sum())
    return np.lexsort((labels, rank))


def parity_images(data: Dataset, seed: int, n: int = N_PARITY_IMAGES) -> NDArray[np.float32]:
    """Return `n` images, test split first, its classes in turn; where a data set has fewer, moved by up to a pixel."""
    images = torch.from_numpy(np.concatenate([data.x_test[classes_in_turn(data.y_test)], data.x_val, data.x_train]))
    generator = torch.Generator().manual_seed(seed)
    parts = [images[:n]]
    while sum(map(len, parts)) < n:
        parts.append(shift(images, 1, generator))
    result: NDArray[np.float32] = torch.cat(parts)[:n].numpy()
    return result
