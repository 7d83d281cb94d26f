"""Networks of a trained language run against the same ones trained alone, with as many steps, in float32 and in few bits.

python experiments/benchmarks/text_alone.py --run runs/imdb --folder runs/text_alone --size largest

A network alone has the run's text, schedule and optimizer; its two formats share the float stage. Several processes may
share a folder, each with a --size of its own. Goes on where it was stopped; prints what is there.
"""

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from filelock import FileLock
from standalone import alone

import nas
from nas.events.progress import progress_bar
from nas.objectives.supernet_evaluator import SupernetEvaluator
from nas.run.run import Run
from nas.supernet.supernet import Supernet
from nas.supernet.threads import torch_threads
from nas.training.trainer import train
from search_spaces.space.baselines import LEVELS, uniform_genome


def bits(run: Run, evaluator: SupernetEvaluator, genome: np.ndarray) -> dict[str, float]:
    """Return bits a byte of one network on both splits."""
    subnet = evaluator.supernet.space.subnet(genome)
    name = run.metric.name
    return {f"{name}_{split}": round(float(evaluator.evaluate([subnet], split)[name][0]), 4) for split in ("val", "test")}


def train_alone(run: Run, size: str, format_: str, formats: list[str], folder: Path, seed: int) -> dict[str, float]:
    """Train one network by itself and return its bits a byte.

    Args:
        run: Its text, schedule and optimizer.
        size: Of the network.
        format_: That of its quantized stage.
        formats: All that share its float stage: float32, and another one.
        folder: Of checkpoints.
        seed: Of weights and batches.
    """
    (quantized,) = {*formats} - {"float32"}
    narrow, of_stage = alone(run.space, uniform_genome(run.space, size, quantized))
    last = of_stage(format_ != "float32")
    graphs = [narrow.subnet(genome).graph for genome in (of_stage(False), last)]
    schedule, plan = run.folder.schedule, {"seed": seed, "identity": {"size": size, "seed": seed}}
    shared, own = (folder / f"{size}-{name}-{seed}.safetensors" for name in ("float", format_))
    for checkpoint, settings in ((shared, replace(schedule, quantized_epochs=0)), (own, schedule)):
        if checkpoint == own and not own.exists():
            shutil.copy(shared, own)
        supernet = Supernet(narrow, torch.Generator().manual_seed(seed))
        with progress_bar(checkpoint.stem) as update:
            train(supernet, run.task, run.data, settings, checkpoint=checkpoint, progress=update, **plan,
                  sample=lambda epoch, rng: [graphs[schedule.is_quantized(epoch)]])  # fmt: skip
    evaluator = SupernetEvaluator(supernet.eval(), run.task, run.data, n_calibration=run.experiment.search.n_calibration)
    return bits(run, evaluator, last)


def main() -> None:
    """Train what is missing of a size, and print all that is there beside the run's own networks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--size", choices=list(LEVELS), required=True)
    parser.add_argument("--formats", nargs=2, default=["float32", "w4a8d-g32"], help="float32 and another one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    run = nas.open_run(options.run)
    assert isinstance(run, Run)
    options.folder.mkdir(parents=True, exist_ok=True)
    raw = options.folder / "bits.csv"
    with torch_threads(options.threads):
        evaluator = run.evaluator()
        for format_ in options.formats:
            facts = {"size": options.size, "format": format_, "seed": options.seed}
            rows = pd.read_csv(raw).to_dict("records") if raw.exists() else []
            if any(all(row[key] == value for key, value in facts.items()) for row in rows):
                continue
            own = train_alone(run, options.size, format_, options.formats, options.folder, options.seed)
            cut = bits(run, evaluator, uniform_genome(run.space, options.size, format_))
            with FileLock(options.folder / ".lock"):
                row = facts | {f"alone_{k}": v for k, v in own.items()} | {f"supernet_{k}": v for k, v in cut.items()}
                pd.DataFrame([row]).to_csv(raw, mode="a", header=not raw.exists(), index=False)
    found = pd.read_csv(raw)
    for split in ("val", "test"):
        found[f"gap_{split}"] = found[f"supernet_{run.metric.name}_{split}"] - found[f"alone_{run.metric.name}_{split}"]
    print(found.to_string(index=False))


if __name__ == "__main__":
    main()
