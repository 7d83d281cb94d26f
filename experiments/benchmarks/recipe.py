"""What each part of the training recipe brings: the supernet trained with one part changed at a time.

Each supernet is trained on the same images, from the same seed, for as many epochs; then the same networks are measured in
each, without fine-tuning. Variants that differ in the quantized stage only share their float stage. Goes on where it was
stopped: trainings by their checkpoints, variants by the rows of --raw.

python experiments/benchmarks/recipe.py --folder runs/recipe --raw runs/recipe/errors.csv
"""

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from fashion_subset import add_options, fit, prepare

from nas.data.dataset import Dataset
from nas.objectives.supernet_evaluator import SupernetEvaluator
from nas.tasks.classification import Classification
from nas.training.schedule import Schedule
from search_spaces import SPACES, SearchSpace
from search_spaces.space.baselines import baselines

OF_FLOAT_STAGE: dict[str, dict[str, float]] = {
    "default": {},
    "distillation": {"distillation": 1.0},
    "half distillation": {"distillation": 0.5},
    "without label smoothing": {"label_smoothing": 0.0},
    "shrinking from half": {"shrink_start": 0.5},
    "kurtosis 0.015": {"kurtosis": 0.015},
    "batch 128": {"batch_size": 128},
    "batch 16": {"batch_size": 16},
    "rate 0.05": {"learning_rate": 0.05},
    "rate 0.2": {"learning_rate": 0.2},
    "four random networks": {"n_random": 4},
    "no smoothing, quantized rate 0.05": {"label_smoothing": 0.0, "quantized_learning_rate": 0.05},
    "no smoothing, quantized rate 0.05, kurtosis": {
        "label_smoothing": 0.0,
        "quantized_learning_rate": 0.05,
        "kurtosis": 0.015,
    },
}
OF_QUANTIZED_STAGE: dict[str, dict[str, float]] = {
    "half of the random networks in one format": {"uniform_share": 0.5},
    "quantized rate 0.05": {"quantized_learning_rate": 0.05},
    "all formats at once": {"progressive_bits": False},
}
VARIANTS = OF_FLOAT_STAGE | OF_QUANTIZED_STAGE


def networks(space: SearchSpace, n_random: int) -> dict[str, np.ndarray]:
    """Return the uniform networks at three sizes and random mixed ones, by name."""
    mixed = space.sample(n_random, np.random.default_rng(7))
    return {**baselines(space), **{f"mixed {i}": genome for i, genome in enumerate(mixed)}}


def measure(
    variant: str, seed: int, data: Dataset, schedule: Schedule, folder: Path, n_random: int
) -> list[dict[str, object]]:
    """Train one supernet and return the test errors of its networks, a row each."""
    space = SPACES.get("mobilenet-28")()
    of_float = variant if variant in OF_FLOAT_STAGE else "default"
    in_float = replace(schedule, **OF_FLOAT_STAGE[of_float])
    shared, own = (folder / f"{name.replace(' ', '-')}-{seed}.safetensors" for name in (f"float {of_float}", variant))
    _, minutes = fit(space, data, replace(in_float, quantized_epochs=0), shared, seed)
    if not own.exists():
        shutil.copy(shared, own)
    supernet, more_minutes = fit(space, data, replace(in_float, **OF_QUANTIZED_STAGE.get(variant, {})), own, seed)
    chosen = networks(space, n_random)
    subnets = supernet.space.subnets(np.array(list(chosen.values())))
    errors = SupernetEvaluator(supernet, Classification.of(data), data).evaluate(subnets, "test")["error"]
    row = {"variant": variant, "seed": seed, "minutes": round(minutes + more_minutes, 1)}
    return [{**row, "network": name, "error": round(float(error), 3)} for name, error in zip(chosen, errors, strict=True)]


def table(rows: pd.DataFrame) -> str:
    """Return a Markdown table: mean error of each kind of network, by variant."""
    kind = rows["network"].str.split().str[0]
    means = rows.assign(kind=kind).pivot_table(index="variant", columns="kind", values="error", sort=False)
    minutes = rows.groupby("variant", sort=False)["minutes"].first()
    lines = [f"| variant | {' | '.join(means.columns)} | minutes |", "|---" * (len(means.columns) + 2) + "|"]
    for variant, row in means.iterrows():
        lines.append(f"| {variant} | {' | '.join(f'{value:.2f}' for value in row)} | {minutes[variant]:.1f} |")
    return "\n".join(lines)


def main() -> None:
    """Train what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="for checkpoints")
    parser.add_argument("--raw", type=Path, required=True, help="CSV of all errors, made or continued")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    add_options(parser, n_train=10_000, float_epochs=12, quantized_epochs=4)
    parser.add_argument("--n-random", type=int, default=8)
    options = parser.parse_args()
    data, schedule = prepare(options)
    rows = pd.read_csv(options.raw) if options.raw.exists() else pd.DataFrame(columns=["variant", "seed"])
    for seed in options.seeds:
        for variant in options.variants:
            if ((rows["variant"] == variant) & (rows["seed"] == seed)).any():
                continue
            new = pd.DataFrame(measure(variant, seed, data, schedule, options.folder, options.n_random))
            rows = new if rows.empty else pd.concat([rows, new], ignore_index=True)
            options.raw.parent.mkdir(parents=True, exist_ok=True)
            rows.to_csv(options.raw, index=False)
            print(table(rows), flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
