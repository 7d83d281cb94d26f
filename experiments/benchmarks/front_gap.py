"""Networks of a run's front against the same networks trained from scratch, in every format.

    python experiments/benchmarks/front_gap.py --run runs/specialise/fashion0s --folder runs/specialise/alone0 --threads 1

Four architectures, evenly along the front by latency; alone each is trained for --float-epochs and --quantized-epochs, as
many as the run's supernet had in all its rounds, at twice its learning rates, the float stage once for all formats; w8a8
with two seeds. With --finetune N each is besides trained on from the supernet's weights for N epochs as `hwnas finetune`
does. Goes on where it was stopped; several processes may share the folder, each with its own --architectures.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
import torch
from alone import alone, in_format, train_in_format
from filelock import FileLock
from standalone import measured, side_by_side

from nas.run.run import Run
from nas.run.stages.finetune import finetune, largest_as_teacher
from search_spaces.space.baselines import format_genes
from search_spaces.space.narrowing import NarrowedSpace
from search_spaces.space.space import Genomes
from search_spaces.space.subnet import Subnet

FORMATS = ("float32", "w8a8", "w4a8", "w4a4")
N_ARCHITECTURES = 4
RATE = 2.0


def architectures(run: Run) -> dict[str, Genomes]:
    """Return distinct architectures of the front by the id of the network that has them, evenly by latency, in float32."""
    front = run.front().sort_values("latency_ms")
    genes, found = format_genes(run.space), {}
    for name in front["id"]:
        genome = run.subnet(name).genome.copy()
        genome[genes] = 0
        found.setdefault(genome.tobytes(), (name, genome))
    distinct = list(found.values())
    chosen = [distinct[i] for i in np.linspace(0, len(distinct) - 1, N_ARCHITECTURES).round().astype(int)]
    return dict(chosen)


def report(rows: pd.DataFrame) -> str:
    """Return errors side by side, gaps with their 95 % intervals, the ranking and the minutes, as Markdown."""
    keys = ["architecture", "format"]
    alone = rows[rows["kind"] == "alone"].groupby(keys, sort=False)["error_test"].mean()
    lines = []
    for kind in dict.fromkeys(rows["kind"][rows["kind"] != "alone"]):
        found = rows[rows["kind"] == kind].set_index(keys)["error_test"]
        lines += ["", *side_by_side(alone, found, kind)]
    lines.append(f"\nminutes: {rows.groupby('kind')['minutes'].sum().round().to_dict()}")
    return "\n".join(lines)


def main() -> None:
    """Measure in the supernet and train alone what is missing, and print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--architectures", type=int, nargs="+", default=range(N_ARCHITECTURES), help="which, from 0")
    parser.add_argument("--formats", nargs="+", default=FORMATS, choices=FORMATS)
    parser.add_argument("--float-epochs", type=int, default=10)
    parser.add_argument("--quantized-epochs", type=int, default=4)
    parser.add_argument("--finetune", type=int, default=0, metavar="N", help="epochs, from the supernet's weights")
    parser.add_argument("--finetuning-rate", type=float, help="greatest rate of that (default: that of `hwnas finetune`)")
    parser.add_argument("--distill", type=float, default=0.0, help="share of its loss by the largest's answers (default 0)")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    run = Run.open(options.run)
    space, data, training = run.space, run.data, run.experiment.training
    schedule = replace(
        training,
        float_epochs=options.float_epochs,
        quantized_epochs=options.quantized_epochs,
        learning_rate=RATE * training.learning_rate,
        quantized_learning_rate=RATE * training.quantized_learning_rate,
    )
    options.folder.mkdir(parents=True, exist_ok=True)
    raw, lock = options.folder / "errors.csv", FileLock(options.folder / ".lock")

    def known(**wanted: Any) -> bool:
        with lock:
            rows = pd.read_csv(raw).to_dict("records") if raw.exists() else []
        return any(all(row[key] == value for key, value in wanted.items()) for row in rows)

    def keep(row: dict[str, Any]) -> None:
        with lock:
            pd.DataFrame([row]).to_csv(raw, mode="a", header=not raw.exists(), index=False)
        print(row, flush=True)

    evaluator, finetuning_rate = run.evaluator(), options.finetuning_rate or training.finetuning_rate
    how = f"{options.finetune} epochs, rate {finetuning_rate:g}, distillation {options.distill:g}"

    def tuned(subnet: Subnet, checkpoint: Path) -> dict[str, float]:
        own = run.evaluator()  # whose weights become those of this network
        return finetune(
            own,
            subnet,
            run.folder.schedule,
            epochs=options.finetune,
            learning_rate=finetuning_rate,
            seed=run.experiment.seed,
            checkpoint=checkpoint,
            identity=dict(run.archives.weights),
            distillation=options.distill,
            teacher=largest_as_teacher(own) if options.distill else None,
        )

    for number, (name, genome) in enumerate(architectures(run).items()):
        if number not in options.architectures:
            continue
        for number_format in options.formats:
            facts = {"architecture": name, "format": number_format}
            member = in_format(space, genome, number_format)
            subnet = space.subnet(member)
            if not known(kind="supernet", **facts):
                errors = {f"error_{s}": float(evaluator.evaluate([subnet], s)["error"][0]) for s in ("val", "test")}
                keep({"kind": "supernet", **facts, "seed": 0, **errors, "minutes": 0.0})
            kind = f"fine-tuned {how}"
            if options.finetune and not known(kind=kind, **facts):
                start = perf_counter()
                found = tuned(subnet, options.folder / f"{name}-{number_format}-{how}.safetensors")
                errors = {key: found[key] for key in ("error_val", "error_test")}
                keep({"kind": kind, **facts, "seed": 0, **errors, "minutes": round((perf_counter() - start) / 60, 2)})
            wide = space.widened(member[None])[0] if isinstance(space, NarrowedSpace) else member
            narrow = alone(space.origin, wide, FORMATS)
            for seed in (0, 1) if number_format == "w8a8" else (0,):
                if not known(kind="alone", **facts, seed=seed):
                    start, plan = perf_counter(), (schedule, options.folder / name, seed)
                    supernet, last = train_in_format(narrow, number_format, run.task, data, *plan)
                    minutes = round((perf_counter() - start) / 60, 2)
                    keep({"kind": "alone", **facts, "seed": seed, **measured(supernet, last, data), "minutes": minutes})
    print(report(pd.read_csv(raw)))


if __name__ == "__main__":
    main()
