"""Proves an exported folder again, from its files alone and the data set it names."""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from latency_tables.runtimes.onnxruntime import open_session
from nas.data.dataset import SIZES, Dataset
from nas.data.load import DATASETS, PathNeededError, load_dataset
from nas.export.folder import SUMS
from nas.export.min_runtime import check_runtime
from nas.export.verification.adopted import verify_adopted
from nas.export.verification.parity import check_parity, predictions
from nas.export.verification.weights import weights_of
from nas.pretrained.llama import llama_space
from nas.tasks import TASKS
from nas.tasks.spaces import build_space
from nas.tasks.task import Task, values_of
from search_spaces import SPACES
from search_spaces.errors import DamagedFileError, InvalidInputError
from search_spaces.families.decoder import Decoder
from search_spaces.lowering import of_any_size
from search_spaces.plugins import load_plugin

BATCH = 512
TOKENIZER = "tokenizer.json"


@dataclass(frozen=True)
class Verification:
    """Result of a verification.

    Attributes:
        elements: Integers compared with the reference.
        samples: Samples whose outputs were compared.
        values: Metrics on the test split, with their names for people; empty where a file is not the one that was exported.
        reasons: What failed, one sentence each; empty when everything holds.
        operators: Of a language model: compared with the reference, each on what the file computed before it.
    """

    elements: int
    samples: int
    values: Mapping[str, str]
    reasons: tuple[str, ...]
    operators: int = 0


def read_subnet(folder: Path) -> dict[str, Any]:
    """Return what `subnet.json` of an exported folder holds.

    Raises:
        InvalidInputError: If there is none.
        DamagedFileError: If it is damaged.
    """
    path = folder / "subnet.json"
    try:
        subnet: dict[str, Any] = json.loads(path.read_text())
    except OSError as error:
        raise InvalidInputError(f"'{folder}' is no exported folder: it holds no subnet.json") from error
    except ValueError as error:
        raise DamagedFileError(f"'{path}' is damaged; export the subnet again") from error
    if "subnet.json" in changed_files(folder):
        raise DamagedFileError(f"'{path}' is damaged: it is not what was exported; export the subnet again")
    try:
        _ = (subnet["architecture"]["space"], subnet["formats"], subnet["measured"])
        _ = [subnet["data"][key] for key in ("name", "digest", "n_val", "seed")]
    except (KeyError, TypeError) as error:
        raise DamagedFileError(f"'{path}' is damaged; export the subnet again") from error
    return subnet


def verify(folder: Path, data_path: str | None = None, plugins: Sequence[str] = ()) -> Verification:
    """Compare the files with their sums, and the model with the integer reference, its samples, and its recorded metrics.

    Args:
        folder: As `hwnas export` wrote it.
        data_path: File or folder of the data set that it names; None where that has a place of its own. Of an adopted model:
            the user's original, without which its integers are not compared anew.
        plugins: Files or modules that hold its space, task or data set, where those are a user's own. What `subnet.json`
            names is not loaded by itself: it may come from anywhere.

    Raises:
        DamagedFileError: If a file is missing or damaged.
        InvalidInputError: If the data set is missing or another one.
    """
    subnet = read_subnet(folder)
    if changed := changed_files(folder):
        differing = tuple(f"{name} is not the file that was exported: its SHA-256 differs" for name in changed)
        return Verification(0, 0, {}, differing)
    if "adopted" in subnet:
        elements, n, wrong = verify_adopted(folder, subnet, Path(data_path).expanduser() if data_path else None)
        return Verification(elements, n, {}, tuple(wrong))
    settings = subnet["data"]
    if "tokenizer" in (settings.get("options") or {}) and (folder / TOKENIZER).is_file():
        kind = settings["options"]["tokenizer"]
        settings["options"]["tokenizer"] = str(folder / TOKENIZER) if kind.endswith(".json") else kind
    for plugin in plugins:
        load_plugin(plugin)
    _check_plugins(subnet)
    kind = TASKS.get(subnet.get("task", "classification"))  # a version before named none
    split = {"n_val": settings["n_val"], "seed": settings["seed"], "options": settings.get("options")}
    try:
        data = load_dataset(settings["name"], path=data_path, targets=kind.targets, **split)
    except PathNeededError as error:
        raise InvalidInputError(
            f"'{folder}' was made with data of your own ({settings['name']}): say where they are by --data PATH"
        ) from error
    if data.digest != settings["digest"]:
        raise InvalidInputError(
            f"the data set '{data.name}' is not the one that '{folder}' was made with: its content differs"
        )
    task = kind.of(data)
    if origin := subnet.get("pretrained"):
        shape, context = Decoder(**origin["shape"]), task.inputs[0].shape[0]
        facts = tuple(subnet["formats"]), tuple(origin.get("left_out", ()))  # a version before knew one order
        space = llama_space(origin["name"], shape, origin["digest"], context, *facts)
    else:
        space = build_space(subnet["architecture"]["space"], task, subnet["formats"])
    if subnet.get("space_digest") not in (None, space.digest):  # None: of a version that knew names alone
        raise InvalidInputError(
            f"'{folder}' was exported from other blocks of space '{space.name}'; export the subnet again"
        )
    described = space.subnet_from_json(json.dumps(subnet["architecture"]))
    if space.phases:
        from nas.export.verification.verify_language import verify_language  # computes in torch

        proof, measured, reasons = verify_language(folder, subnet, described, task, data)
        reasons += _differing(task, subnet, measured)
        return Verification(0, proof.windows, _told(task, measured), tuple(reasons), proof.operators)
    graph = described.graph
    try:
        model = onnx.load(folder / "model.onnx")
        weights = weights_of(model, graph)
        with np.load(io.BytesIO((folder / "samples.npz").read_bytes())) as samples:
            inputs, outputs = samples[graph.nodes[0].name], samples[graph.output.name]
    except (OSError, EOFError, DecodeError, BadZipFile, KeyError, ValueError) as error:
        raise DamagedFileError(f"'{folder}' lacks a file or holds a damaged one; export the subnet again") from error
    check_runtime(model)
    try:
        open_session(model.SerializeToString())
    except Exception as error:  # onnxruntime has a kind of its own for every fault
        raise DamagedFileError(f"onnxruntime cannot run '{folder / 'model.onnx'}'; export the subnet again") from error
    parity = check_parity(model, graph, weights, inputs, outputs, task.agreement)
    reasons = list(parity.reasons)
    if not np.allclose(predictions(model, inputs), outputs, atol=1e-3 * np.abs(outputs).max()):
        reasons.append("the outputs of the samples differ from those that were recorded")
    measured = values_of(task, _scores(model, task, data))
    reasons += _differing(task, subnet, measured)
    return Verification(parity.elements, len(inputs), _told(task, measured), tuple(reasons))


def _told(task: Task, measured: Mapping[str, float]) -> dict[str, str]:
    """Return metrics of the test split with their names for people."""
    return {f"test {metric.title}": metric.text(measured[metric.name]) for metric in task.metrics}


def _differing(task: Task, subnet: Mapping[str, Any], measured: Mapping[str, float]) -> list[str]:
    """Return a sentence for each metric that is not what was recorded."""
    found = []
    for metric in task.metrics:
        title, value = metric.title, measured[metric.name]
        recorded = subnet["measured"].get(f"{metric.name}_test")
        if recorded is not None and not abs(value - recorded) <= metric.tolerance:
            found.append(f"the test {title} is {metric.text(value)}, but {metric.text(recorded)} was recorded")
    return found


def _scores(model: onnx.ModelProto, task: Task, data: Dataset) -> list[dict[str, NDArray[Any]]]:
    """Return the scores of what a model gives for the test split; pictures of any size are given as they are."""
    if SIZES in data.test:
        model = of_any_size(model)
    return [task.scores(predictions(model, batch[data.inputs]), batch) for batch in data.batches("test", BATCH)]


def _check_plugins(subnet: Mapping[str, Any]) -> None:
    """Raise `InvalidInputError` if space, task or data are of plug-ins that were not named; nothing is loaded."""
    task, needed = subnet.get("task", "classification"), (subnet.get("found") or {}).get("plugins", [])
    own = () if "pretrained" in subnet else ((SPACES, subnet["architecture"]["space"]),)
    names = (*own, (DATASETS, subnet["data"]["name"]), (TASKS, task))
    if missing := [name for registry, name in names if name not in registry]:
        of_plugins = f", of the plug-ins {', '.join(needed)}" if needed else ""
        raise InvalidInputError(f"{missing} are not known here{of_plugins}: name what holds them by --plugin FILE")


def changed_files(folder: Path) -> list[str]:
    """Return the files of an exported folder that are missing or not as they were written.

    Raises:
        DamagedFileError: If the list of what was written is missing or damaged.
    """
    try:
        lines = [line.split("  ", 1) for line in (folder / SUMS).read_text().splitlines()]
        checksums = {name: digest for digest, name in lines}
    except (OSError, ValueError) as error:
        raise DamagedFileError(f"'{folder}' lacks {SUMS} or holds a damaged one; export the subnet again") from error
    if not {"model.onnx", "subnet.json", "samples.npz"} <= set(checksums) or any(
        Path(name).name != name for name in checksums
    ):
        raise DamagedFileError(f"'{folder / SUMS}' is damaged: it does not name every file; export the subnet again")
    files = {name: folder / name for name in checksums}
    return [
        n for n, file in files.items() if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != checksums[n]
    ]
