"""Model card of an exported model, in Markdown, and a program of a few lines that runs it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nas.data.dataset import Dataset
from nas.export.verification.parity import Parity
from nas.objectives.columns import LATENCY, SPLITS, Column
from nas.tasks.task import Task
from search_spaces.graph.graph import Graph
from search_spaces.lowering import is_int4
from search_spaces.operators.quantize import Quantize

PROGRAM = '''\
"""Answers of model.onnx: `python predict.py INPUTS.npy`, raw as in samples.npz; without inputs, check the samples."""

import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime

folder = Path(__file__).parent
subnet, samples = json.loads((folder / "subnet.json").read_text()), np.load(folder / "samples.npz")
here, least = onnxruntime.__version__, subnet["onnx"]["min_onnxruntime"]
if list(map(int, here.split(".")[:2])) < list(map(int, least.split("."))):
    sys.exit(f"model.onnx needs onnxruntime {least} or newer, this is {here}")
session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
(taken, given), shape = (subnet[end]["name"] for end in ("input", "output")), subnet["input"]["shape"][1:]
try:
    inputs = (np.load(sys.argv[1]) if len(sys.argv) > 1 else samples[taken]).astype(np.float32)
except (OSError, ValueError, AttributeError, EOFError, zipfile.BadZipFile) as error:
    sys.exit(f"'{sys.argv[-1]}' must be an .npy file of numbers: {error}")
if not inputs.size or list(inputs.shape[1:]) != shape:
    sys.exit(f"the %SAMPLES% must be of shape (number, {', '.join(map(str, shape))}), got {inputs.shape}")
outputs = np.concatenate([session.run(None, {taken: one[None]})[0] for one in inputs])
%ANSWERS%
if len(sys.argv) == 1 and not np.allclose(outputs, samples[given], atol=1e-3 * np.abs(samples[given]).max()):
    sys.exit("the answers differ from those of the machine that exported the model")
'''


def program(task: Task) -> str:
    """Return the program that runs the model and prints what it answers."""
    return PROGRAM.replace("%SAMPLES%", f"{task.sample}s").replace("%ANSWERS%", task.answers)


def card(
    subnet: Mapping[str, Any],
    graph: Graph,
    parity: Parity,
    task: Task,
    data: Dataset,
    agreements: Mapping[str, Mapping[str, float]],
) -> str:
    """Return the model card.

    Args:
        subnet: What `subnet.json` holds.
        graph: The network.
        parity: The proof.
        task: What it is for.
        data: What it was trained and measured on.
        agreements: For every further tool, on how many `samples` it ran there, and its `agreement` in percent.
    """
    measured, costs, shape = subnet["measured"], subnet["costs"], " x ".join(map(str, subnet["input"]["shape"]))
    taken, given = task.words()
    title = task.metric.title
    lines = [
        f"# Subnet {subnet['id']} of {subnet['architecture']['space']}",
        "",
        f"Takes {taken}, {subnet['input']['type']} of {shape}, and gives {given}. Made by hwnas.",
        "",
        f"`python predict.py INPUTS.npy` gives the answers to {task.sample}s; without any it checks the samples.",
        "",
        f"## {title[0].upper()}{title[1:]}",
        "",
        *_metrics(measured, task, data),
        "",
        f"Data: {data.name} ({data.digest}), {data.size('train'):,} training, {data.size('val'):,} validation and "
        f"{data.size('test'):,} test {task.sample}s. The search saw the validation split, never the test split.",
        "",
        "## Latency and size",
        "",
        *_latencies(measured),
        f"- {costs['macs']:,.0f} multiply-accumulates, {costs['size_bytes']:,.0f} bytes of packed weights",
        f"- {_file(subnet, graph)}",
        "",
        "## Proof",
        "",
        _integers(parity),
        f"{parity.agreement:.2f} % of {parity.samples:,} answers equal those of the trained network.",
        *(f"By {name} {a['agreement']:.2f} % of {a['samples']:,} answers do." for name, a in agreements.items()),
        "",
        *_found(subnet.get("found")),
        "## Formats",
        "",
        "| layer | weights | of shape | input |",
        "|---|---|---|---|",
        *_layers(graph),
        "",
        "## Limits",
        "",
        f"Good for {task.sample}s like those it was trained on; nothing is known of others. Latency holds for the device "
        "that is named, its runtime and its number of threads.",
        "",
    ]
    return "\n".join(lines)


def _file(subnet: Mapping[str, Any], graph: Graph) -> str:
    """Return how long `model.onnx` is, and in which version of ONNX."""
    onnx = subnet["onnx"]
    narrow = onnx["int4"] and any(is_int4(node) for node in graph.nodes)
    stored = ", weights of up to 4 bits two a byte" if narrow else ""
    return (
        f"`model.onnx` has {onnx['bytes']:,} bytes{stored} (opset {onnx['opset']}, IR version {onnx['ir_version']}); it "
        f"needs onnxruntime {onnx['min_onnxruntime']} or newer"
    )


def _integers(parity: Parity) -> str:
    if not parity.elements:
        return "All layers are float32: there are no integers to compare."
    return (
        f"{parity.elements:,} integers on {parity.reference_samples} samples compared with an independent reference: "
        f"{parity.integer_mismatches} differ, {parity.ties} lie halfway and went the other way."
    )


def _found(found: Mapping[str, Any] | None) -> list[str]:
    if not found:
        return []
    words = {"max": "at most", "min": "at least"}
    constraints = [f"{name} {words[key]} {value:g}" for key in words for name, value in found[key].items()]
    space = f"{found['space_size']:.3g} networks"
    epochs, packages = found["epochs"], found["packages"]
    shared = f"{_epochs(epochs['float'])} in float32 and {_epochs(epochs['quantized'])} in all formats"
    alone = f", then this network alone for {_epochs(epochs['alone'])}" if epochs["alone"] else ""
    return [
        "## How it was found",
        "",
        f"- experiment `{found['experiment']}`, seed {found['seed']}: strategy {found['strategy']} measured "
        f"{found['n_measured']} of {space} for the least {', '.join(found['objectives'])}"
        + (f"; constraints: {', '.join(constraints)}" if constraints else ""),
        f"- shared weights trained for {shared}{alone}",
        f"- {found['latency_table']}",
        f"- {', '.join(f'{name} {version}' for name, version in packages.items())}",
        "",
    ]


def _epochs(n: int) -> str:
    return f"{n} epoch{'' if n == 1 else 's'}"


def _metrics(measured: Mapping[str, Any], task: Task, data: Dataset) -> list[str]:
    found = []
    for metric in task.metrics:
        name = "" if metric is task.metric else f"{metric.title}, "
        for split, words in SPLITS.items():
            if (value := measured.get(f"{metric.name}_{split}")) is not None:
                ends = metric.interval(value, data.size(split)) if metric.interval else ()
                interval = " to ".join(f"{end:.{metric.digits}f}" for end in ends)
                found.append(f"- {name}{words}: {metric.text(value)}{f' (95 % interval {interval})' if ends else ''}")
    return found or ["not measured"]


def _latencies(measured: Mapping[str, Any]) -> list[str]:
    device = measured.get("device", {})
    own = ", ".join(f"{key} {device[key]}" for key in ("backend", "version", "cpu", "threads") if key in device)
    found = []
    if (ms := measured.get("file_latency_ms")) is not None:
        found.append(f"- {ms:.4f} ms, spread {100 * measured['file_latency_spread']:.1f} %: this file, {own}")
    for column in (Column.from_name(key) for key in measured):
        if replace(column, device="") != LATENCY:
            continue
        where, spread = column.device or own, measured.get(column.spread.name, 0.0)
        found.append(f"- {measured[column.name]:.4f} ms, spread {100 * spread:.1f} %: the search measured, {where}")
    return found or ["- latency not measured"]


def _layers(graph: Graph) -> list[str]:
    rows = []
    for node in graph.nodes:
        for spec in (spec for spec in node.weights() if spec.quantized):
            source = graph[node.inputs[0]]
            taken = source.format.name if isinstance(source, Quantize) else source.outputs[0].dtype
            rows.append(f"| {node.name} | {node.precision.weights.name} | {'x'.join(map(str, spec.shape))} | {taken} |")
    return rows
