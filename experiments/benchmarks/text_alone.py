"""Networks of a trained language run against the same ones trained alone, with as many steps, in float32 and in few bits.

python experiments/benchmarks/text_alone.py --run runs/imdb --folder runs/text_alone --size largest

A network alone has the run's text, schedule and optimizer; its two formats share the float stage. Several processes may
share a folder, each with a --size of its own. Goes on where it was stopped; prints what is there.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from alone import alone, train_in_format
from filelock import FileLock

import nas
from nas.objectives.supernet_evaluator import SupernetEvaluator
from nas.run.run import Run
from nas.supernet.threads import torch_threads
from search_spaces.space.baselines import LEVELS, uniform_genome


def bits(run: Run, evaluator: SupernetEvaluator, genome: np.ndarray) -> dict[str, float]:
    """Return bits a byte of one network on both splits."""
    subnet = evaluator.supernet.space.subnet(genome)
    name = run.metric.name
    return {f"{name}_{split}": round(float(evaluator.evaluate([subnet], split)[name][0]), 4) for split in ("val", "test")}


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
            narrow = alone(run.space, uniform_genome(run.space, options.size), options.formats)
            checkpoint, schedule = options.folder / options.size, run.folder.schedule
            supernet, genome = train_in_format(narrow, format_, run.task, run.data, schedule, checkpoint, options.seed)
            n_calibration = run.experiment.search.n_calibration
            own = bits(run, SupernetEvaluator(supernet, run.task, run.data, n_calibration=n_calibration), genome)
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
