"""Proves an exported language model again, from its files and the text that it names."""

import io
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from nas.data.dataset import Dataset
from nas.export.min_runtime import check_runtime
from nas.export.targets.language import compare
from nas.export.verification.language import N_WINDOWS, LanguageParity, check_language
from nas.export.verification.network import Network, serving_graph
from nas.export.verification.token_session import TokenSession
from nas.export.verification.weights import weights_of
from nas.objectives.supernet_evaluator import batch_size
from nas.tasks.task import Task, values_of
from search_spaces.errors import DamagedFileError, NotReadyError
from search_spaces.space.subnet import Subnet

logger = logging.getLogger(__name__)


def verify_language(
    folder: Path, described: Mapping[str, Any], subnet: Subnet, task: Task, data: Dataset
) -> tuple[LanguageParity, dict[str, float], list[str]]:
    """Compare the file with the reference and with the weights that it holds, its sample, and its recorded bits a byte.

    Args:
        folder: As `hwnas export` wrote it.
        described: What its `subnet.json` holds.
        subnet: Which network it is.
        task: Language modelling.
        data: The text.

    Returns:
        What was compared, metrics on the test split, and what failed, a sentence each.

    Raises:
        DamagedFileError: If a file is missing or damaged.
    """
    serving = serving_graph(subnet)
    try:
        model = onnx.load(folder / "model.onnx")
        weights = weights_of(model, serving)
        with np.load(io.BytesIO((folder / "samples.npz").read_bytes())) as samples:
            prompt, written = samples["prompt"], samples["written"]
    except (OSError, EOFError, DecodeError, BadZipFile, KeyError, ValueError) as error:
        raise DamagedFileError(f"'{folder}' lacks a file or holds a damaged one; export the subnet again") from error
    check_runtime(model)
    content, context = model.SerializeToString(), int(described["context"])
    network = Network.of(subnet.graph, weights, batch_size(task))
    windows = data.test["tokens"][:N_WINDOWS]
    parity = check_language(content, serving, weights, windows, context, network.answers, network.moved.answers)
    reasons = list(parity.reasons)
    if parity.is_exact and (TokenSession(content, context).greedy(prompt, len(written)) != written).any():
        reasons.append("the text of the sample differs from what was recorded")
    for target in json.loads((folder / "parity.json").read_text()).get("targets", {}):
        try:
            reasons += [
                f"{target}: {each}" for each in compare(target, folder, subnet, weights, windows, network.batch).reasons
            ]
        except NotReadyError as error:
            logger.warning("the files for %s are not compared: %s", target, error)
    batches = data.batches("test", network.batch)
    measured = values_of(task, [task.scores(network.answers(batch["tokens"]), batch) for batch in batches])
    return parity, measured, reasons
