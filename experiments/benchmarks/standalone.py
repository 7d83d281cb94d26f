"""A subnet cut from the supernet, without fine-tuning, against the same network trained alone at the same format.

Both sides have the same images, epochs, batch size and augmentation. The networks trained alone have the best of three
learning rates for each format, chosen by validation error on one architecture. Goes on where it was stopped: every training
has a checkpoint, every network that ended a row in --folder/errors.csv.

python experiments/benchmarks/standalone.py --folder runs/standalone

Several processes may share a folder, each with its own --parts. With --finetune N nothing is trained alone: each subnet is
trained on by itself for N epochs, and its errors then are kept beside.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
from alone import alone, in_format
from fashion_subset import add_options, fit, prepare
from filelock import FileLock
from scipy.stats import kendalltau, t

from nas.data.dataset import Dataset
from nas.objectives.supernet_evaluator import SupernetEvaluator
from nas.run.stages.finetune import finetune
from nas.supernet.supernet import Supernet
from nas.tasks.classification import Classification
from nas.training.schedule import Schedule
from search_spaces import SPACES, SearchSpace
from search_spaces.space.baselines import format_genes, uniform_genome

RATES = (0.5, 1.0, 2.0)  # times the learning rates of the supernet
ARCHITECTURES = ("smallest", "random 1", "random 2", "largest")
FORMATS = ("float32", "w8a8", "w4a4", "mixed")
PARTS = ("supernet", *FORMATS)
TUNED_ON = "random 1"  # the architecture whose learning rates are tuned


def networks(space: SearchSpace) -> dict[tuple[str, str], np.ndarray]:
    """Return the genomes of four architectures in four formats, by architecture and format."""
    rng = np.random.default_rng(11)
    first, second, mixed = space.sample(3, rng)
    shapes = (uniform_genome(space, "smallest"), first, second, uniform_genome(space, "largest"))
    genomes = {}
    genes = format_genes(space)
    for name, shape in zip(ARCHITECTURES, shapes, strict=True):
        for number_format in FORMATS:
            genome = shape.copy()
            for gene in genes:
                options = space.choices[gene].options
                genome[gene] = mixed[gene] if number_format == "mixed" else options.index(number_format)
            genomes[name, number_format] = space.canonicalize(genome[None])[0]
    return genomes


def train_alone(
    space: SearchSpace, genome: np.ndarray, data: Dataset, schedule: Schedule, checkpoint: Path, seed: int
) -> dict[str, float]:
    """Train one network by itself, quantization-aware in the second stage; return its errors and minutes."""
    narrow = alone(space, genome)
    last = narrow.canonicalize(narrow.cardinalities[None].astype(np.int16) - 1)[0]
    graphs = {False: narrow.subnet(in_format(narrow, last, "float32")).graph, True: narrow.subnet(last).graph}
    supernet, minutes = fit(
        narrow, data, schedule, checkpoint, seed, lambda epoch, rng: [graphs[schedule.is_quantized(epoch)]]
    )
    return measured(supernet, last, data) | {"minutes": round(minutes, 2)}


def measured(supernet: Supernet, genome: np.ndarray, data: Dataset) -> dict[str, float]:
    """Return validation and test error of one network."""
    evaluator = SupernetEvaluator(supernet, Classification.of(data), data)
    subnet = supernet.space.subnet(genome)
    return {f"error_{split}": round(float(evaluator.evaluate([subnet], split)["error"][0]), 3) for split in ("val", "test")}


def side_by_side(alone: pd.Series, shared: pd.Series, shared_is: str = "supernet") -> list[str]:
    """Return test errors by architecture and format beside each other, mean gaps with intervals, and the ranking."""
    pairs = pd.DataFrame({"alone": alone, "supernet": shared}).dropna()
    pairs["gap"] = pairs["supernet"] - pairs["alone"]
    lines = [f"| architecture | format | alone | {shared_is} | gap |", "|---|---|---|---|---|"]
    lines += [f"| {a} | {f} | {p.alone:.2f} | {p.supernet:.2f} | {p.gap:+.2f} |" for (a, f), p in pairs.iterrows()]
    for name, gaps in [("all", pairs["gap"]), *pairs.groupby("format", sort=False)["gap"]]:
        n = len(gaps)
        spread = f"95 % interval +-{t.ppf(0.975, n - 1) * gaps.sem():.2f}, {n} networks" if n > 1 else "one network"
        lines.append(f"\nmean gap, {name}: {gaps.mean():+.2f} points, {spread}")
    if len(pairs) > 1:
        lines.append(f"\nKendall's tau of the two rankings: {kendalltau(pairs['alone'], pairs['supernet'])[0]:.3f}")
    return lines


def report(rows: pd.DataFrame) -> str:
    """Return what was asked for, as Markdown: learning rates, errors side by side, gaps with intervals, ranking, cost."""
    keys = ["architecture", "format"]
    own = rows[rows["kind"] == "alone"]
    best = own.loc[own.groupby([*keys, "seed"])["error_val"].idxmin()]
    mean = best.groupby(keys, sort=False)["error_test"].mean()
    cut = rows[rows["kind"] == "supernet"].set_index(keys)["error_test"]
    lines = side_by_side(mean, cut)
    tuning = own[own["architecture"] == TUNED_ON].pivot_table(index="format", columns="rate", values="error_val", sort=False)
    lines.append(f"\nvalidation error by learning rate on {TUNED_ON}:\n\n{tuning.round(2).to_string()}")
    minutes = rows.groupby("kind")["minutes"].sum()
    lines.append(f"\nminutes of training: supernet {minutes.get('supernet', 0):.0f}, alone {minutes.get('alone', 0):.0f}")
    return "\n".join(lines)


def main() -> None:
    """Train what is missing and print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS, help="the supernet, networks alone by format")
    parser.add_argument("--architectures", nargs="+", default=ARCHITECTURES, choices=ARCHITECTURES, help="trained alone")
    parser.add_argument("--rates", nargs="+", type=float, default=RATES, help="times the learning rates of the supernet")
    parser.add_argument("--finetune", type=int, default=0, metavar="N", help="train subnets on for so many epochs instead")
    parser.add_argument("--n-random", type=int, help="random networks in a step of the supernet (default: as hwnas has it)")
    add_options(parser, n_train=20_000, float_epochs=16, quantized_epochs=5)
    options = parser.parse_args()
    data, schedule = prepare(options)
    space = SPACES.get("mobilenet-28")()
    genomes = networks(space)
    raw = options.folder / "errors.csv"
    options.folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(options.folder / ".lock")

    def keep(row: dict[str, Any]) -> None:
        with lock:
            pd.DataFrame([row]).to_csv(raw, mode="a", header=not raw.exists(), index=False)
        print(row, flush=True)

    def find(**wanted: Any) -> list[dict[str, Any]]:
        with lock:
            rows = pd.read_csv(raw).to_dict("records") if raw.exists() else []
        return [row for row in rows if all(row[key] == value for key, value in wanted.items())]

    def trained() -> tuple[Supernet, float]:
        recipe = schedule if options.n_random is None else replace(schedule, n_random=options.n_random)
        return fit(space, data, recipe, options.folder / "supernet.safetensors", seed=0)

    if "supernet" in options.parts and not find(kind="supernet"):
        supernet, minutes = trained()
        for i, ((architecture, number_format), genome) in enumerate(genomes.items()):
            facts = {"kind": "supernet", "architecture": architecture, "format": number_format, "seed": 0, "rate": 1.0}
            keep(facts | measured(supernet, genome, data) | {"minutes": round(minutes, 2) if i == 0 else 0.0})

    def run_alone(architecture: str, number_format: str, seed: int, rate: float) -> None:
        facts = {"kind": "alone", "architecture": architecture, "format": number_format, "seed": seed, "rate": rate}
        if find(**facts):
            return
        rates = {key: rate * getattr(schedule, key) for key in ("learning_rate", "quantized_learning_rate")}
        checkpoint = options.folder / f"{architecture.replace(' ', '-')}-{number_format}-{seed}-{rate:g}.safetensors"
        genome = genomes[architecture, number_format]
        keep(facts | train_alone(space, genome, data, replace(schedule, **rates), checkpoint, seed))

    def run_finetuned(architecture: str, number_format: str) -> None:
        facts = {"kind": "finetuned", "architecture": architecture, "format": number_format, "seed": 0, "rate": 1.0}
        if find(**facts):
            return
        supernet, _ = trained()
        start = perf_counter()
        found = finetune(
            SupernetEvaluator(supernet, Classification.of(data), data),
            space.subnet(genomes[architecture, number_format]),
            schedule,
            epochs=options.finetune,
            learning_rate=0.01,
            seed=0,
            checkpoint=options.folder / f"finetuned-{architecture.replace(' ', '-')}-{number_format}.safetensors",
            identity={},
        )
        errors = {name: round(found[name], 3) for name in ("error_val", "error_test")}
        keep(facts | errors | {"minutes": round((perf_counter() - start) / 60, 2)})

    formats = [name for name in FORMATS if name in options.parts]
    if options.finetune:
        for architecture, number_format in ((a, f) for a in options.architectures for f in formats):
            run_finetuned(architecture, number_format)
        return
    for number_format in formats:
        for rate in options.rates:
            run_alone(TUNED_ON, number_format, 0, rate)
        tuned = find(kind="alone", architecture=TUNED_ON, format=number_format, seed=0)
        best = min(tuned, key=lambda row: row["error_val"])["rate"]
        for architecture in options.architectures:
            for seed in (0, 1) if number_format == "w8a8" else (0,):
                run_alone(architecture, number_format, seed, best)
    print(report(pd.read_csv(raw)))


if __name__ == "__main__":
    main()
