"""The exported folder of a mixture of a trained network: the file, where it comes from, and the proof of its integers."""

import json
import math
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from latency_tables.timing.measurement import Measurement
from nas.data.samples import Arrays, Pictures, Samples
from nas.events.files import file_digest
from nas.export.folder import Exported, check_folder, drafted, timed
from nas.export.min_runtime import check_runtime, min_onnxruntime
from nas.export.verification.parity import StepOne, optimized_operators, run_with_integers
from nas.objectives.adopted_evaluator import AdoptedEvaluator
from nas.ptq.execution import feeds_of, outputs_of
from nas.ptq.importing import Check
from nas.tasks.divergence import KINDS
from search_spaces.costs import graph_costs, macs
from search_spaces.errors import VerificationError
from search_spaces.graph.graph import Graph
from search_spaces.importing.reader import Imported
from search_spaces.lowering import IR_VERSION, has_integer_weights, lower
from search_spaces.operators.conv import Conv
from search_spaces.space.subnet import Subnet

N_REFERENCE_SAMPLES = 4
MAX_REFERENCE_MACS = 2e9  # of all samples of the proof
FLOAT_TOLERANCE = 1e-4  # of the greatest output
N_SAMPLES = 4
EXPECTED = ":expected"  # behind the names of outputs in samples.npz
INTEGER_KERNELS = ("QGemm", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QLinearMatMul")

PROGRAM = '''\
"""What model.onnx gives: `python predict.py INPUTS.npz`, arrays by name of the input; without, check the samples."""

import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime

folder = Path(__file__).parent
subnet, samples = json.loads((folder / "subnet.json").read_text()), dict(np.load(folder / "samples.npz"))
here, least = onnxruntime.__version__, subnet["onnx"]["min_onnxruntime"]
if list(map(int, here.split(".")[:2])) < list(map(int, least.split("."))):
    sys.exit(f"model.onnx needs onnxruntime {least} or newer, this is {here}")
session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
given = [each["name"] for each in subnet["outputs"]]
taken = {each["name"]: each["batched"] for each in subnet["inputs"]}


def arrays(file):
    """Return the inputs that an .npz holds."""
    try:
        with np.load(file) as content:
            found = {each["name"]: content[each["name"]].astype(each["type"]) for each in subnet["inputs"]}
        n = len(next(iter(found.values())))
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
        sys.exit(f"'{file}' must be an .npz file with arrays called {', '.join(taken)}: {error}")
    for each in subnet["inputs"]:
        wanted, shape = (n, *each["shape"][each["batched"] :]), found[each["name"]].shape
        if not n or shape != wanted:
            sys.exit(f"'{file}': '{each['name']}' must be of shape {('samples', *wanted[1:])}, got {shape}")
    return found
%READ%

def answers(inputs):
    """Return what the model gives for samples, by output, samples along the first axis."""
    n = len(inputs[next(iter(taken))])
    calls = [{k: inputs[k][i : i + 1] if taken[k] else np.asarray(inputs[k][i]) for k in taken} for i in range(n)]
    return {name: np.stack(found) for name, found in zip(given, zip(*(session.run(given, call) for call in calls)))}


if len(sys.argv) > 1:
    found = answers(read(sys.argv[1:]))
    for name, array in found.items():
        sys.stdout.write(f"{name} {array.shape} {np.array2string(array, threshold=20, precision=4)}\\n")
else:
    found = answers(samples)
    for name, array in found.items():
        wanted = samples[f"{name}:expected"]
        if not np.allclose(array, wanted, atol=1e-3 * np.abs(wanted).max()):
            sys.exit(f"output '{name}' differs from that of the machine that exported the model")
    sys.stdout.write("the samples give what they gave on the machine that exported the model\\n")
'''
READ_ARRAYS = '''

def read(names):
    """Return the arrays of a file."""
    return arrays(names[0])

'''
READ_PICTURES = '''

def read(names):
    """Return pictures, or the arrays of an .npz, as the model takes them: (pixel / 255 - mean) / std."""
    if names[0].endswith(".npz"):
        return arrays(names[0])
    from PIL import Image

    settings, (own,) = subnet["pictures"], subnet["inputs"]
    channels, height, width = own["shape"][-3:]
    mean, std = (np.reshape(np.broadcast_to(settings[key], channels), (-1, 1, 1)) for key in ("mean", "std"))
    found = []
    for name in names:
        try:
            picture = Image.open(name).convert("L" if channels == 1 else "RGB")
        except OSError as error:
            sys.exit(f"cannot read the picture '{name}': {error}")
        short = settings["resize"] or max(height, width)
        factor = max(short / min(picture.size), height / picture.height, width / picture.width)
        picture = picture.resize((max(width, round(picture.width * factor)), max(height, round(picture.height * factor))))
        left, top = (picture.width - width) // 2, (picture.height - height) // 2
        pixels = np.asarray(picture.crop((left, top, left + width, top + height)), np.float32)
        planes = pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
        planes = planes[::-1] if settings["layout"] == "bgr" else planes
        found.append((planes / 255 - mean) / std)
    return {own["name"]: np.stack(found).astype(np.float32)}

'''


def export_adopted(
    evaluator: AdoptedEvaluator,
    subnet: Subnet,
    folder: Path,
    *,
    original: Path,
    check: Check,
    settings: Mapping[str, Any],
    formats: Sequence[str],
    pictures: Pictures | None,
    seed: int,
    facts: Mapping[str, Any],
    found: Mapping[str, Any],
    name: str,
    int4: bool = False,
    time_file: Callable[[bytes], Measurement] | None = None,
) -> Exported:
    """Write `model.onnx`, `subnet.json`, `parity.json`, a model card, a program that runs it and samples, all or nothing.

    Args:
        evaluator: Holds the network, its bank and the samples.
        subnet: The mixture.
        folder: Must not exist, or be empty.
        original: The user's file.
        check: How far the network as it was read is from that.
        formats: That its groups may have; none: the usual ones.
        settings: What it was read with: `shapes`, `formats` and `max_layers` of `AdoptSettings`.
        pictures: How pictures become what it takes; None where samples were arrays.
        seed: Of the split of the samples.
        facts: What is known of the mixture, such as its measured divergence.
        found: How it was found.
        name: Of the user's file, for the card.
        int4: Whether weights of up to 4 bits are stored two a byte; see `search_spaces.lower`.
        time_file: Times `model.onnx` on the device of the facts; None where that is remote.

    Raises:
        InvalidInputError: If the folder is in the way, or the onnxruntime that is here is too old for the model.
        VerificationError: If the file's integers are not those of the reference.
    """
    check_folder(folder)
    graph, samples, imported = subnet.graph, evaluator.samples, evaluator.adopted.imported
    weights = evaluator.bank.weights(graph)
    model = lower(graph, weights, int4=int4)
    check_runtime(model)
    proof = prove(model, graph, weights, samples.val)
    if proof["reasons"]:
        raise VerificationError(f"subnet {subnet.id} is not exported: {'; '.join(proof['reasons'])}")
    content = model.SerializeToString()
    measured = dict(facts) | timed(content, time_file)
    few = {name: array[:N_SAMPLES] for name, array in samples.val.items()}
    outputs = outputs_of(model, evaluator.inputs, few)
    tensors = {"inputs": graph.inputs, "outputs": graph.outputs}
    described = {
        end: [
            {"name": t.name, "type": t.dtype, "shape": [1, *t.shape] if t.batched else list(t.shape), "batched": t.batched}
            for node in nodes
            for t in node.outputs
        ]
        for end, nodes in tensors.items()
    }
    description = {
        "id": subnet.id,
        "architecture": json.loads(subnet.to_json()),
        "space_digest": subnet.space.digest,
        "formats": list(formats),
        "data": {"name": "samples", "digest": samples.digest, "n_val": samples.sizes["val"], "seed": seed},
        "samples": {"source": samples.source, "sizes": samples.sizes, "ranges": samples.ranges},
        "adopted": _origin(imported, original, check, name) | {"settings": dict(settings)},
        "divergence": {name: KINDS[kind] for name, kind in evaluator.kinds.items()},
        **described,
        **({"pictures": asdict(pictures)} if pictures else {}),
        "onnx": {
            "opset": model.opset_import[0].version,
            "ir_version": IR_VERSION,
            "bytes": len(content),
            "int4": int4,
            "min_onnxruntime": min_onnxruntime(model),
        },
        "costs": graph_costs(graph),
        "measured": measured,
        "found": dict(found),
    }
    with drafted(folder) as draft:
        (draft / "model.onnx").write_bytes(content)
        (draft / "subnet.json").write_text(json.dumps(description, indent=1) + "\n")
        (draft / "parity.json").write_text(json.dumps(proof, indent=1) + "\n")
        (draft / "README.md").write_text(card(description, proof, samples))
        (draft / "predict.py").write_text(PROGRAM.replace("%READ%", READ_PICTURES if pictures else READ_ARRAYS))
        arrays: dict[str, Any] = {
            **few,
            **{f"{name}{EXPECTED}": array for name, array in _with_batch(graph, outputs).items()},
        }
        with zipfile.ZipFile(draft / "samples.npz", "w") as archive:  # np.savez takes no array by the name of `file`
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w") as out:
                    np.lib.format.write_array(out, np.asarray(array), allow_pickle=False)
    return Exported(folder, proof)


def prove(model: onnx.ModelProto, graph: Graph, weights: Mapping[str, NDArray[Any]], samples: Arrays) -> dict[str, Any]:
    """Compare the integers that onnxruntime computes with the reference; return what `parity.json` holds."""
    n = max(1, min(N_REFERENCE_SAMPLES, int(MAX_REFERENCE_MACS / max(macs(graph.nodes), 1))))
    specs = [tensor for node in graph.inputs for tensor in node.outputs]
    few = {name: array[:n] for name, array in samples.items()}
    steps = [
        StepOne(graph, weights, run_with_integers(model, graph, feed, one_by_one=False)) for feed in feeds_of(specs, few)
    ]
    operators = optimized_operators(model)
    layers = [node for node in graph.nodes if has_integer_weights(node)]
    n_conv = sum(isinstance(node, Conv) for node in layers)
    n_linear = len(layers) - n_conv
    counts = {
        "tensors": steps[0].tensors,
        "elements": sum(step.elements for step in steps),
        "integer_mismatches": sum(step.integer_mismatches for step in steps),
        "ties": sum(step.ties for step in steps),
        "float_mismatches": sum(step.float_mismatches for step in steps),
        "output_error": max(step.output_error for step in steps),
        "float_layers": n_conv
        - min(n_conv, operators.get("QLinearConv", 0))
        + n_linear
        - min(n_linear, sum(operators.get(kind, 0) for kind in INTEGER_KERNELS)),
    }
    reasons = []
    if counts["integer_mismatches"]:
        reasons.append(f"{counts['integer_mismatches']} integers of {counts['elements']} differ from the integer reference")
    if counts["float_mismatches"]:
        reasons.append(f"{counts['float_mismatches']} integers after float operators differ by more than one step")
    if counts["float_layers"]:
        reasons.append(f"onnxruntime runs {counts['float_layers']} layers in float32 that should run in integers")
    if not counts["output_error"] <= FLOAT_TOLERANCE:
        reasons.append(f"the outputs differ from the reference by {counts['output_error']:.2g} of the greatest")
    return {"reference_samples": len(steps), **counts, "operators": operators, "reasons": reasons, "targets": {}}


def _with_batch(graph: Graph, outputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return outputs as a call gives them, samples in front: with a batch axis where there is one."""
    batched = {tensor.name: tensor.batched for node in graph.outputs for tensor in node.outputs}
    return {name: array[:, None] if batched[name] else array for name, array in outputs.items()}


def _origin(imported: Imported, original: Path, check: Check, name: str) -> dict[str, Any]:
    return {
        "original": name,
        "digest": file_digest(original),
        "difference": check.difference,
        "left_out": list(check.left_out),
        "share_with_formats": imported.known_share,
        "share_known": imported.read_share,
        "weights_with_formats": imported.weights_share,
        "unknown": dict(imported.unknown),
    }


def card(subnet: Mapping[str, Any], proof: Mapping[str, Any], samples: Samples) -> str:
    """Return the model card."""
    measured, origin, costs = subnet["measured"], subnet["adopted"], subnet["costs"]
    sizes, device = samples.sizes, measured.get("device", {})
    where = ", ".join(f"{key} {device[key]}" for key in ("backend", "version", "cpu", "threads") if key in device)
    times = {"this file": "file_latency_ms", "the search": "latency_ms"}
    values = {key: measured[key] for key in measured if key.endswith(("_val", "_test")) and not math.isnan(measured[key])}
    lines = [
        f"# {origin['original']}, mixture {subnet['id']}",
        "",
        f"Made by hwnas of `{origin['original']}` ({origin['digest']}), without training.",
        "",
        "`python predict.py INPUTS.npz` runs it.",
        "",
        "## Divergence from the original",
        "",
        *(f"- {name}: {value:.5g}" for name, value in values.items()),
        *(f"- of output `{name}`: {kind}" for name, kind in subnet["divergence"].items()),
        "",
        f"Samples: `{samples.source}` ({samples.digest}), {sizes['calibrate']} calibrated, {sizes['val']} chose, "
        f"{sizes['test']} tested; no sample did two of these. Ranges seen: "
        + ", ".join(f"`{name}` {low:.4g} to {high:.4g}" for name, (low, high) in samples.ranges.items())
        + ".",
        *([f"Pictures: {subnet['pictures']}."] if "pictures" in subnet else []),
        "",
        "## Latency and size",
        "",
        *(f"- {measured[key]:.4f} ms: {who}, {where}" for who, key in times.items() if key in measured),
        f"- {costs['macs']:,.0f} multiply-accumulates, {costs['size_bytes']:,.0f} bytes of packed weights",
        f"- `model.onnx` has {subnet['onnx']['bytes']:,} bytes; it needs onnxruntime "
        f"{subnet['onnx']['min_onnxruntime']} or newer",
        "",
        "## What was read",
        "",
        f"- {100 * origin['share_with_formats']:.1f} % of the multiply-accumulates and "
        f"{100 * origin['weights_with_formats']:.1f} % of the weights have integer forms",
        f"- {100 * (1 - origin['share_known']):.1f} % of the work is in operators that are not known, and kept as they are"
        + (f": {', '.join(sorted(set(origin['unknown'].values())))}" if origin["unknown"] else ""),
        f"- as read in float32 it differs from the original by {origin['difference']:.1g} of the greatest output",
        "",
        "## Proof",
        "",
        f"{proof['elements']:,} integers on {proof['reference_samples']} samples compared with an independent reference: "
        f"{proof['integer_mismatches']} differ, {proof['ties']} lie halfway and went the other way.",
        "",
        "## Formats",
        "",
        "| group | format |",
        "|---|---|",
        *(f"| {name.rpartition('/')[0]} | {value} |" for name, value in subnet["architecture"]["values"].items()),
        "",
        "## Limits",
        "",
        "Good for samples like those it was calibrated on; nothing is known of others. Latency holds for the device that is "
        "named, its runtime and its number of threads.",
        "",
    ]
    return "\n".join(lines)
