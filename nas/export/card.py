"""Model card of an exported model, in Markdown, and a program of a few lines that runs it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from scipy.stats import binomtest

from nas.data.dataset import Dataset
from nas.export.verification.parity import N_REFERENCE_IMAGES, Parity
from nas.objectives.columns import LATENCY, Column
from search_spaces.graph.graph import Graph
from search_spaces.lowering import is_int4
from search_spaces.operators.quantize import Quantize

PREDICT = '''\
"""Answers of model.onnx: `python predict.py IMAGES.npy`, raw pixels as in samples.npz; without images, check the samples."""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

folder = Path(__file__).parent
subnet, samples = json.loads((folder / "subnet.json").read_text()), np.load(folder / "samples.npz")
here, least = onnxruntime.__version__, subnet["onnx"]["min_onnxruntime"]
if list(map(int, here.split(".")[:2])) < list(map(int, least.split("."))):
    sys.exit(f"model.onnx needs onnxruntime {least} or newer, this is {here}")
session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
images, shape = np.load(sys.argv[1]) if len(sys.argv) > 1 else samples["images"], subnet["input"]["shape"][1:]
if list(images.shape[1:]) != shape:
    sys.exit(f"the images must be of shape (number, {', '.join(map(str, shape))}), got {images.shape}")
logits = np.concatenate([session.run(None, {"images": image[None]})[0] for image in images.astype(np.float32)])
print(*np.array(subnet["output"].get("classes", range(logits.shape[1])))[logits.argmax(axis=1)], sep="\\n")
if len(sys.argv) == 1 and not np.allclose(logits, samples["logits"], atol=1e-3 * np.abs(samples["logits"]).max()):
    sys.exit("the answers differ from those of the machine that exported the model")
'''


def card(
    subnet: Mapping[str, Any],
    graph: Graph,
    parity: Parity,
    data: Dataset,
    agreements: Mapping[str, Mapping[str, float]],
) -> str:
    """Return the model card.

    Args:
        subnet: What `subnet.json` holds.
        graph: The network.
        parity: The proof.
        data: What it was trained and measured on.
        agreements: For every further tool, on how many `images` it ran there, and its `agreement` in percent.
    """
    measured, costs, shape = subnet["measured"], subnet["costs"], " x ".join(map(str, subnet["input"]["shape"]))
    lines = [
        f"# Subnet {subnet['id']} of {subnet['architecture']['space']}",
        "",
        f"Takes raw pixels, float32 of {shape}, and gives {data.n_classes} logits. Made by hwnas.",
        "",
        "`python predict.py IMAGES.npy` gives the classes of images; without any it checks the samples.",
        "",
        "## Error",
        "",
        *_errors(measured, data),
        "",
        f"Data: {data.name} ({data.digest}), {len(data.x_train):,} training, {len(data.x_val):,} validation and "
        f"{len(data.x_test):,} test images. The search saw the validation error, never the test error.",
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
        f"{parity.agreement:.2f} % of {parity.images:,} answers equal those of the trained network.",
        *(f"By {name} {a['agreement']:.2f} % of {a['images']:,} answers do." for name, a in agreements.items()),
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
        "Good for images like those it was trained on; nothing is known of others. Latency holds for the device that is "
        "named, its runtime and its number of threads.",
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
        f"{parity.elements:,} integers on {N_REFERENCE_IMAGES} images compared with an independent reference: "
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


def _errors(measured: Mapping[str, Any], data: Dataset) -> list[str]:
    found = []
    for split, name, n in (("val", "validation", len(data.y_val)), ("test", "test", len(data.y_test))):
        if (error := measured.get(f"error_{split}")) is not None:
            low, high = binomtest(round(error / 100 * n), n).proportion_ci(method="wilson")
            found.append(f"- {name}: {error:.2f} % (95 % interval {100 * low:.2f} to {100 * high:.2f})")
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
