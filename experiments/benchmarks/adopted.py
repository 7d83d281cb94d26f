"""Adopted models: what is read, what integers compute, what repair brings, how well predictions add up.

    python experiments/benchmarks/adopted.py resnet18 efficientnet-lite0 --runs runs/adopted

For each model: seconds of the import, its difference from the original, shares that have integer forms; layers in integer
kernels and the proof; divergence of w8a8 and w4a8 raw and repaired; seconds of the bank; Kendall's tau between predicted and
measured divergence of 40 random mixtures, for each sensitivity; seconds of the exact front. Latency and fronts: `hwnas
adopt`, see experiments/results/adopted.md.
"""

import argparse
import json
import logging
import sys
import time
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau

sys.path.insert(0, str(Path(__file__).parents[1] / "adopted"))
from models import MODELS, build

from nas.export.adopted import prove
from nas.objectives.adopted_evaluator import AdoptedEvaluator
from nas.ptq.bank import build_bank, observe_layers, observe_values, scales_of
from nas.ptq.sensitivity import SENSITIVITIES
from nas.ptq.sensitivity.sensitivity import corrected, table_of
from nas.run.adoption import Adoption
from nas.search import exact_front
from search_spaces import cost_table
from search_spaces.errors import HwnasError

N_MIXTURES = 40
N_CORRECTING = 20


def main() -> None:
    """Run the models and print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(MODELS))
    parser.add_argument("--runs", type=Path, default=Path("runs/adopted"))
    parser.add_argument("--samples", type=int, default=192)
    parser.add_argument("--sensitivities", nargs="+", default=["measured"], choices=SENSITIVITIES.names)
    parser.add_argument("--mixtures", type=int, default=N_MIXTURES)
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    for name in options.models:
        judge(name, options)


def judge(name: str, options: argparse.Namespace) -> None:
    """Print every figure of one model."""

    def say(text: str) -> None:
        print(f"| {name} | {text} |", flush=True)

    run = opened(name, options)
    started = time.perf_counter()
    adopted, imported = run.adopted, run.adopted.imported
    read = run.read()
    say(f"read in {time.perf_counter() - started:.1f} s: " + " / ".join(read))
    started = time.perf_counter()
    values = observe_values(adopted, run.samples.calibrate, seed=0)
    layers = observe_layers(adopted, run.samples.calibrate, seed=0)
    raw = build_bank(adopted, layers, scales_of(adopted, values, "minmax"), "nearest")
    bank = run.bank
    chosen = {
        name: way for name, way in json.loads((run.folder.path / "bank.json").read_text()).items() if name != "identity"
    }
    say(f"bank in {time.perf_counter() - started:.0f} s, {len(run.space.choices)} groups, {chosen}")
    judges = {"raw": AdoptedEvaluator(adopted, raw, run.samples, run.references), "repaired": run.evaluator}
    for precision in ("w8a8", "w4a8"):
        graph = adopted.in_format(precision)
        found = {kind: judge.values(graph, "val")["divergence"] for kind, judge in judges.items()}
        say(f"{precision}: " + ", ".join(f"{kind} {value:.5f}" for kind, value in found.items()))
    graph = adopted.in_format("w8a8")
    proof = prove(run.evaluator.model(graph), graph, bank.weights(graph), run.samples.val)
    n_layers = sum(any(spec.quantized for spec in node.weights()) for node in imported.nodes)
    say(
        f"{n_layers - proof['float_layers']} of {n_layers} layers in integer kernels; {proof['elements']:,} integers, "
        f"{proof['integer_mismatches']} differ, {proof['float_mismatches']} by more than a step, {proof['ties']} ties; "
        f"outputs {proof['output_error']:.2g}"
        f"; {proof['reasons']}"
    )
    genomes = np.unique(run.space.sample(options.mixtures, np.random.default_rng(1)), axis=0)
    measured = run.evaluator.measure(genomes)["divergence"]
    others = run.space.sample(N_CORRECTING, np.random.default_rng(2))
    of_others = run.evaluator.measure(others)["divergence"]
    for sensitivity in options.sensitivities:
        started = time.perf_counter()
        try:
            table = table_of(run.space, SENSITIVITIES.get(sensitivity)(run.evaluator, {}, lambda name, loss: None))
        except HwnasError as error:
            say(f"{sensitivity}: {error}")
            continue
        seconds, predicted = time.perf_counter() - started, table(genomes)
        ratio = np.quantile(measured[predicted > 0] / predicted[predicted > 0], [0.1, 0.5, 0.9])
        tau = kendalltau(predicted, measured).statistic
        after = kendalltau(corrected(table, others, of_others)(genomes), measured).statistic
        say(
            f"{sensitivity} in {seconds:.0f} s: tau {tau:.3f} of {len(genomes)} mixtures, measured / predicted "
            f"{ratio.round(2)}; corrected by {N_CORRECTING} others {after:.3f}"
        )
        started = time.perf_counter()
        front = exact_front(run.space, {"divergence": table, "size_bytes": cost_table(run.space, "size_bytes")})
        say(f"exact front of {len(front.genomes)} in {time.perf_counter() - started:.2f} s")


def opened(name: str, options: argparse.Namespace) -> Adoption:
    """Return the run of a model, made if it is not there yet."""
    if (options.runs / name).exists():
        return Adoption.open(options.runs / name)
    options.runs.mkdir(parents=True, exist_ok=True)
    file, samples = options.runs / f"{name}.onnx", options.runs / f"{name}.npz"
    model = build(name, options.samples)
    file.write_bytes(model.content)
    np.savez(samples, **model.samples)
    settings = {"model": str(file.resolve()), "samples": str(samples.resolve()), "shapes": model.shapes}
    experiment = {"name": name, "threads": 1, "adopt": settings, "devices": {}}
    return Adoption.create(experiment, options.runs / name)


if __name__ == "__main__":
    main()
