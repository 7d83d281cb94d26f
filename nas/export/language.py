"""The exported folder of a language model: the file, its tokenizer, a program that writes text, and the proof."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nas.export.folder import Exported, check_folder, drafted
from nas.export.min_runtime import check_runtime, min_onnxruntime
from nas.export.targets.language import LANGUAGE_TARGETS, compare
from nas.export.targets.targets import DEFAULT
from nas.export.verification.language import N_WINDOWS, TextParity, check_language, summary
from nas.export.verification.network import Network, serving_graph
from nas.export.verification.token_session import TokenSession
from nas.objectives.columns import Column
from nas.objectives.supernet_evaluator import SupernetEvaluator, batch_size
from nas.pretrained.llama import Chat
from nas.supernet.deploy import extract
from nas.tasks import METRICS
from nas.tasks.generate import GENERATE
from search_spaces.costs import cache_bytes, graph_costs
from search_spaces.errors import VerificationError
from search_spaces.families.decoder import offered_formats
from search_spaces.graph.graph import Graph
from search_spaces.lowering import AXES, lower
from search_spaces.space.subnet import Subnet


def export_language_model(
    evaluator: SupernetEvaluator,
    subnet: Subnet,
    folder: Path,
    *,
    seed: int,
    facts: Mapping[str, Any] | None = None,
    found: Mapping[str, Any] | None = None,
    pretrained: Mapping[str, Any] | None = None,
    chat: Chat | None = None,
    target: str = DEFAULT,
) -> Exported:
    """Write the file, its tokenizer, `generate.py`, `subnet.json`, `parity.json`, a card and a sample, all or nothing.

    Of a model that was trained to be spoken to the template too, `chat_template.jinja`.

    Args:
        evaluator: Holds the trained supernet, the task and the data, whose text proves the parity.
        subnet: The subnet.
        folder: Must not exist, or be empty.
        seed: Of the split of the data.
        facts: What is known of the subnet, such as its measured bits a byte; goes into `subnet.json`.
        found: How it was found; goes there too.
        pretrained: Of a model that was trained elsewhere: of what its space is made, see `Llama.describe`; goes there too.
        chat: Of such a model: how it is spoken to.
        target: Of `nas.export.targets.language`: what else is written, for which tool.

    Raises:
        InvalidInputError: If the folder holds something or cannot be written, or the onnxruntime that is here is too old, or
            the target is unknown or its tool missing.
        VerificationError: If parity fails; the message says why.
    """
    check_folder(folder)
    write = None if target == DEFAULT else LANGUAGE_TARGETS.get(target).write
    supernet, task, data = evaluator.supernet, evaluator.task, evaluator.data
    context = task.inputs[0].shape[0]
    graph, serving = subnet.graph, serving_graph(subnet)
    weights = extract(supernet, graph, evaluator.calibrate(graph))
    content = lower(serving, weights, sequence=AXES)
    check_runtime(content)
    model = content.SerializeToString()
    windows = data.test["tokens"][:N_WINDOWS]
    network = Network.of(graph, weights, batch_size(task))
    parity = check_language(model, serving, weights, windows, context, network.answers, network.moved.answers)
    _check(subnet, parity)
    tokenizer = data.facts["tokenizer"]
    description = {
        "id": subnet.id,
        "architecture": json.loads(subnet.to_json()),
        "space_digest": subnet.space.origin.digest,
        "formats": offered_formats(supernet.space),
        "task": task.name,
        "data": {
            "name": data.name,
            "digest": data.digest,
            "n_val": data.size("val"),
            "seed": seed,
            "options": dict(data.options),
        },
        "context": context,
        "phases": {name: _sizes(subnet, name) for name in subnet.space.phases},
        "vocabulary": int(data.facts["vocabulary"]),
        "end": int(tokenizer.end),
        "onnx": {"bytes": len(model), "min_onnxruntime": min_onnxruntime(content)},
        "costs": {**graph_costs(graph), "kv_cache_bytes": cache_bytes(subnet.space.at("decode").build(subnet.genome).nodes)},
        "measured": dict(facts or {}),
        "found": dict(found or {}),
        **({"pretrained": dict(pretrained)} if pretrained else {}),
        **({"chat": {"bos_token": chat.begin, "eos_token": chat.turn_end}} if chat else {}),
    }
    prompt = windows[0][: context // 4]
    written = TokenSession(model, context).greedy(prompt, min(32, context // 2))
    proof = parity.to_dict()
    with drafted(folder) as draft:
        if write:
            write(lower(serving, weights, sequence=AXES, portable=True), draft)
            texts = compare(target, draft, subnet, weights, windows, network.batch)
            _check(subnet, texts, f" for {target}")
            proof |= {"targets": {target: texts.to_dict()}}
        (draft / "model.onnx").write_bytes(model)
        (draft / "tokenizer.json").write_text(tokenizer.to_json())
        (draft / "generate.py").write_text(GENERATE)
        if chat:
            (draft / "chat_template.jinja").write_text(chat.template, encoding="utf-8")
        (draft / "subnet.json").write_text(json.dumps(description, indent=1) + "\n")
        (draft / "parity.json").write_text(json.dumps(proof, indent=1) + "\n")
        (draft / "README.md").write_text(_card(description, graph, proof))
        np.savez(draft / "samples.npz", prompt=prompt, written=written)
    return Exported(folder, proof)


def _sizes(subnet: Subnet, phase: str) -> dict[str, int]:
    """Return how many tokens are taken in a phase, and how many were there before."""
    graph = subnet.space.at(phase).build(subnet.genome)
    n_tokens, state = graph.inputs[0].shape[0], next(state for node in graph.nodes for state in node.states)
    return {"tokens": n_tokens, "past": state.shape[1] - n_tokens}


def _check(subnet: Subnet, parity: TextParity, whereto: str = "") -> None:
    """Raise `VerificationError` if something failed."""
    if parity.reasons:
        raise VerificationError(f"subnet {subnet.id} is not exported{whereto}: {'; '.join(parity.reasons)}")


def _card(subnet: Mapping[str, Any], graph: Graph, parity: Mapping[str, Any]) -> str:
    measured, costs, onnx = subnet["measured"], subnet["costs"], subnet["onnx"]
    columns = {Column.from_name(name): value for name, value in measured.items()}
    plain = {c: v for c, v in columns.items() if c.metric in METRICS and not (c.is_spread or c.is_predicted)}
    told = {column.title: column.quantity.text(value) for column, value in plain.items()}
    schemes = [f"| {name} | {nodes[0].precision.name} |" for name, nodes in graph.blocks.items()]
    return "\n".join(
        [
            f"# Language model {subnet['id']} of {subnet['architecture']['space']}",
            "",
            f"Takes up to {subnet['context']} of {subnet['vocabulary']:,} tokens and tells how likely each is to be next. "
            "Made by hwnas.",
            "",
            '`python generate.py "PROMPT"` writes text, with onnxruntime'
            + (" alone." if subnet["vocabulary"] == 256 else " and tokenizers alone.")
            + (" With `--chat`, which needs jinja2, it answers." if "chat" in subnet else ""),
            "",
            "| | |",
            "|---|---|",
            *(f"| {name} | {value} |" for name, value in told.items()),
            f"| packed weights | {costs['size_bytes']:,.0f} bytes |",
            f"| cache of a whole context | {costs['kv_cache_bytes']:,.0f} bytes |",
            f"| `model.onnx` | {onnx['bytes']:,} bytes, onnxruntime {onnx['min_onnxruntime']} or newer |",
            *(f"| for other runtimes | `{LANGUAGE_TARGETS.get(each).file}` |" for each in parity.get("targets", {})),
            "",
            f"Data: {subnet['data']['name']} ({subnet['data']['digest']}), split by the hash of its pieces.",
            "",
            "## Proof",
            "",
            summary(parity) + ".",
            "",
            "## Schemes",
            "",
            "| block | scheme |",
            "|---|---|",
            *schemes,
            "",
            "## Limits",
            "",
            "It continues text like that it was trained on; it knows no facts. Latency holds for the device that is named.",
            "",
        ]
    )
