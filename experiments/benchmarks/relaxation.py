"""Differentiable search against the exact front, on the same predictions: how often it finds the optimum, and at what price.

    python experiments/benchmarks/relaxation.py

Random linear errors, as a ridge predicts them, on two spaces and two costs; for each five budgets between the ends of the
front. A regret is a share of the front's range of errors.
"""

import time

import numpy as np

from nas.search import exact_front
from nas.search.relaxation import relaxed_best
from predictors import Features, RidgePredictor, linear_table
from search_spaces import SPACES, cost_table

SEEDS = range(4)
BUDGETS = 5


def main() -> None:
    """Run and print."""
    print("| space | optimum found | mean regret | keeps the budget | s a budget | exact front, all budgets, s |")
    print("|---" * 6 + "|")
    for name in ("mobilenet-digits", "mobilenet-28"):
        space = SPACES.get(name)()
        features, found, exact_seconds = Features(space), [], []
        for seed in SEEDS:
            rng = np.random.default_rng(seed)
            seen = features(space.sample(200, rng))
            error = linear_table(features, RidgePredictor().fit(seen, seen @ rng.normal(size=seen.shape[1])))
            for cost in (cost_table(space, "macs"), cost_table(space, "size_bytes")):
                started = time.perf_counter()
                front = exact_front(space, {"error": error, "cost": cost}).values
                exact_seconds.append(time.perf_counter() - started)
                for budget in np.linspace(front[:, 1].min(), front[:, 1].max(), BUDGETS + 2)[1:-1]:
                    best = front[front[:, 1] <= budget, 0].min()
                    started = time.perf_counter()
                    genome = relaxed_best(space, error, cost, budget)
                    seconds = time.perf_counter() - started
                    if genome is None:
                        found.append([0.0, 1.0, 0.0, seconds])
                        continue
                    regret = (float(error(genome[None])[0]) - best) / np.ptp(front[:, 0])
                    found.append([regret < 1e-9, regret, cost(genome[None])[0] <= budget, seconds])
        share, regret, kept, seconds = np.mean(found, axis=0)
        print(
            f"| {name} | {share:.0%} | {regret:.4f} | {kept:.0%} | {seconds:.2f} | {np.mean(exact_seconds):.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
