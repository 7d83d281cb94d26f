"""Errors of the uniform networks over several seeds, and parity of many subnets, on the digits experiment.

    python experiments/benchmarks/digits.py --runs runs --seeds 0 1 2

Each seed is an ordinary run folder (`RUNS/digits-seedN`); what is trained already is not trained again. Prints Markdown.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from nas.export.bundle import parity_inputs
from nas.export.verification.parity import check_parity
from nas.objectives.supernet_evaluator import predict
from nas.run.run import Run
from nas.supernet.deploy import extract
from search_spaces import lower
from search_spaces.space.baselines import baselines

EXPERIMENT = Path(__file__).parents[1] / "digits.yaml"


def main() -> None:
    """Train, evaluate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", default="runs", help="where the run folders go")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--n-random", type=int, default=20, help="random subnets whose parity is checked, first seed")
    options = parser.parse_args()
    runs = []
    for seed in options.seeds:
        run = Run.create(EXPERIMENT, f"{options.runs}/digits-seed{seed}", overrides=[f"seed={seed}"])
        run.train()
        runs.append(run)
    print_errors(runs, options.seeds)
    print_parity(runs[0], options.n_random)


def print_errors(runs: list[Run], seeds: list[int]) -> None:
    """Print the test errors of the uniform networks: a column for each seed, then mean and standard deviation."""
    print("| network | " + " | ".join(f"seed {seed}" for seed in seeds) + " | mean | sd |")
    print("|---" * (len(seeds) + 3) + "|")
    evaluators = [run.evaluator() for run in runs]
    for name, genome in baselines(runs[0].space).items():
        errors = np.array(
            [evaluator.evaluate([evaluator.supernet.space.subnet(genome)], "test")["error"][0] for evaluator in evaluators]
        )
        cells = " | ".join(f"{error:.2f}" for error in errors)
        print(f"| {name} | {cells} | {errors.mean():.2f} | {errors.std(ddof=1):.2f} |", flush=True)


def print_parity(run: Run, n_random: int) -> None:
    """Print both steps of parity for the uniform and for random networks."""
    evaluator = run.evaluator()
    space, supernet = run.space, evaluator.supernet
    images = parity_inputs(run.task, run.data, 0)
    networks = dict(baselines(space))
    networks |= {f"random {i}": g for i, g in enumerate(space.sample(n_random, np.random.default_rng(1)))}
    print("\n| network | integers compared | differing | ties | float Conv in integer blocks | top-1 agreement % |")
    print("|---" * 6 + "|")
    for name, genome in networks.items():
        subnet = space.subnet(genome)
        graph = subnet.graph
        calibration = evaluator.calibrate(graph)
        weights = extract(supernet, subnet.graph, calibration)
        expected = predict(supernet, graph, calibration, torch.from_numpy(images)).numpy()
        p = check_parity(lower(graph, weights), graph, weights, images, expected, run.task.agreement)
        differing = p.integer_mismatches + p.float_mismatches
        print(f"| {name} | {p.elements} | {differing} | {p.ties} | {p.float_conv} | {p.agreement:.2f} |", flush=True)


if __name__ == "__main__":
    main()
