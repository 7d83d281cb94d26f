"""Proves an exported mixture of a trained model again, from its files and, where it is at hand, the user's original."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from nas.events.files import file_digest
from nas.export.adopted import EXPECTED, prove
from nas.export.verification.weights import weights_of
from nas.ptq.execution import outputs_of
from nas.ptq.importing import read_adopted
from nas.ptq.settings import AdoptSettings
from search_spaces.errors import DamagedFileError, InvalidInputError
from search_spaces.graph.tensor import TensorSpec

TOLERANCE = 1e-3  # of the greatest output: other machines sum in another order


def verify_adopted(folder: Path, subnet: Mapping[str, Any], original: Path | None) -> tuple[int, int, list[str]]:
    """Run the samples again, and with the original compare every integer with the reference.

    Args:
        folder: As `hwnas export` wrote it.
        subnet: What its `subnet.json` holds.
        original: The user's model; None: the samples alone are run.

    Returns:
        Number of integers compared, of samples run, and what failed, a sentence each.

    Raises:
        DamagedFileError: If a file is missing or damaged.
        InvalidInputError: If the original is another one.
    """
    try:
        model = onnx.load(folder / "model.onnx")
        with np.load(io.BytesIO((folder / "samples.npz").read_bytes())) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, EOFError, DecodeError, BadZipFile, ValueError) as error:
        raise DamagedFileError(f"'{folder}' lacks a file or holds a damaged one; export the subnet again") from error
    inputs = [TensorSpec(t["name"], tuple(t["shape"][t["batched"] :]), t["type"], t["batched"]) for t in subnet["inputs"]]
    samples = {tensor.name: arrays[tensor.name] for tensor in inputs}
    found, reasons = outputs_of(model, inputs, samples), []
    for name, array in found.items():
        wanted = arrays[f"{name}{EXPECTED}"]
        if not np.allclose(array.reshape(wanted.shape), wanted, atol=TOLERANCE * float(np.abs(wanted).max())):
            reasons.append(f"output '{name}' of the samples differs from what was recorded")
    if original is None:
        return 0, len(next(iter(samples.values()))), reasons
    if not original.is_file():
        raise InvalidInputError(f"there is no model '{original}'")
    origin = subnet["adopted"]
    if file_digest(original) != origin["digest"]:
        raise InvalidInputError(f"'{original}' is not the model that '{folder}' was made of: its content differs")
    settings = AdoptSettings(model=str(original), **origin["settings"])
    adopted = read_adopted(settings, tuple(origin["left_out"]), subnet["formats"])
    if subnet["space_digest"] != adopted.space.digest:
        raise InvalidInputError(f"'{folder}' was exported from other blocks of its model; export the subnet again")
    graph = adopted.space.subnet_from_json(json.dumps(subnet["architecture"])).graph
    proof = prove(model, graph, weights_of(model, graph), samples)
    return proof["elements"], len(next(iter(samples.values()))), [*reasons, *proof["reasons"]]
