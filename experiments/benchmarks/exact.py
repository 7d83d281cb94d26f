"""Exact fronts, and how near evolution comes to them: HAWQ's ResNet-18, and predictions on the spaces of hwnas.

    python experiments/benchmarks/exact.py --hawq PATH/hawq_resnet18_t4.csv --table TABLES/mobilenet-28/onnxruntime-1t.json

`--table` may be given several times; for each, the error is a random linear prediction, as a ridge predictor gives it.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.problem import Problem
from pymoo.operators.crossover.sbx import SBX
from pymoo.operators.mutation.pm import PM
from pymoo.operators.repair.rounding import RoundingRepair
from pymoo.operators.sampling.rnd import IntegerRandomSampling
from pymoo.optimize import minimize

from nas.objectives.table_files import read_table
from nas.search import best_within, evolve, exact_front, hypervolume
from predictors import PREDICTORS, Features, RidgePredictor, build_predictor, linear_table
from search_spaces import SPACES, Choice, TabularSpace, cost_table
from search_spaces.costs import FactorTable
from search_spaces.space.factor import Factor


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hawq")
    parser.add_argument("--table", action="append", default=[])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    options = parser.parse_args()
    if options.hawq:
        print_hawq(options.hawq, options.seeds)
    for path in options.table:
        print_space(path, options.seeds)
    print_speed(options.table)
    print_fit()


def print_hawq(path: str, seeds: list[int]) -> None:
    """Print the exact front of HAWQ's table and what 1,000 evaluations reach of its hypervolume."""
    layers = pd.read_csv(path)
    space = TabularSpace([Choice(str(name), ("int4", "int8")) for name in layers.iloc[:, 0]])
    rise = layers["hessian_trace"] * (layers["dw2_int4"] - layers["dw2_int8"])
    tables = {
        "sensitivity": FactorTable(tuple(Factor((i,), np.array([cost, 0.0])) for i, cost in enumerate(rise))),
        "latency_ms": FactorTable(
            tuple(
                Factor((i,), np.array(pair))
                for i, pair in enumerate(zip(layers["latency_int4_ms"], layers["latency_int8_ms"], strict=True))
            )
        ),
    }
    started = time.perf_counter()
    front = exact_front(space, tables)
    seconds = time.perf_counter() - started
    low, high = front.values[:, 1].min(), front.values[:, 1].max()
    fitting = front.values[front.values[:, 1] <= 4.24618]
    print(
        f"HAWQ: {len(front)} points from {low:.3f} to {high:.3f} ms in {seconds:.3f} s; with at most 4.24618 ms the least "
    )
    print(f"sensitivity is {fitting[:, 0].min():.6f} at {fitting[fitting[:, 0].argmin(), 1]:.5f} ms")
    started = time.perf_counter()
    best = best_within(space, tables["sensitivity"], {"latency_ms": (tables["latency_ms"], 4.24618)})[None]
    found = [float(table(best)[0]) for table in tables.values()]
    print(f"by integer programming: {found[0]:.6f} at {found[1]:.5f} ms, {time.perf_counter() - started:.3f} s")
    reference = front.values.max(axis=0) * 1.01
    whole = hypervolume(front.values, reference)
    print("\n| 1,000 evaluations | " + " | ".join(f"seed {seed}" for seed in seeds) + " | mean |")
    print("|---" * (len(seeds) + 2) + "|")
    ends = np.array([[0] * len(space.choices), [1] * len(space.choices)])
    runs = {
        "plain pymoo": lambda seed: plain_pymoo(space, tables, seed),
        "plain pymoo, both uniform networks as seeds": lambda seed: plain_pymoo(space, tables, seed, ends),
        "evolve": lambda seed: (
            evolve(
                space, tables, population=50, generations=20, rng=np.random.default_rng(seed), initial=ends.astype(np.int16)
            ).values
        ),
    }
    for name, run in runs.items():
        shares = [hypervolume(run(seed), reference) / whole for seed in seeds]
        print(f"| {name} | " + " | ".join(f"{share:.4f}" for share in shares) + f" | {np.mean(shares):.4f} |", flush=True)


def plain_pymoo(space: TabularSpace, tables: dict, seed: int, seeds: np.ndarray | None = None) -> np.ndarray:
    """Return the front of pymoo's NSGA-II with its operators for integers, population 50, 1,000 evaluations."""
    problem = FreeProblem(space, lambda genomes: np.column_stack([table(genomes) for table in tables.values()]))
    rng = np.random.default_rng(seed)
    sampling = IntegerRandomSampling()
    if seeds is not None:
        sampling = np.concatenate([seeds, space.sample(50 - len(seeds), rng)])
    algorithm = NSGA2(
        pop_size=50,
        sampling=sampling,
        crossover=SBX(prob=1.0, eta=3.0, vtype=float, repair=RoundingRepair()),
        mutation=PM(prob=1.0, eta=3.0, vtype=float, repair=RoundingRepair()),
        eliminate_duplicates=True,
    )
    minimize(problem, algorithm, ("n_eval", 1000), seed=seed)
    return problem.seen[: len(problem.seen)]


class FreeProblem(Problem):
    """Any objectives, all evaluations kept."""

    def __init__(self, space: TabularSpace, objectives: object) -> None:
        super().__init__(n_var=len(space.choices), n_obj=2, xl=0, xu=space.cardinalities - 1, vtype=int)
        self.objectives = objectives
        self.seen = np.empty((0, 2))

    def _evaluate(self, x: np.ndarray, out: dict, *_: object, **__: object) -> None:
        out["F"] = self.objectives(x.astype(np.int16))
        self.seen = np.concatenate([self.seen, out["F"]])


def print_space(path: str, seeds: list[int]) -> None:
    """Print what `evolve` reaches of the exact front of a linear error and a measured latency table, and of the bytes."""
    table = read_table(Path(path))
    space = SPACES.get(table.space)()
    print(f"\n{space.name}, {space.size:.3g} networks\n")
    sizes = cost_table(space, "size_bytes"), cost_table(space, "macs")
    started = time.perf_counter()
    limits = {"bytes": (sizes[0], 30_000.0), "macs": (sizes[1], 2e6)}
    best_within(space, table.factor_table(space), limits)
    print(f"Least latency under limits of bytes and MACs by integer programming: {time.perf_counter() - started:.2f} s\n")
    print("| objectives | seed | exact points | s | evolve's share of the hypervolume | s |")
    print("|---" * 6 + "|")
    for seed in seeds:
        rng = np.random.default_rng(seed)
        genomes = space.sample(200, rng)
        features = Features(space)
        seen = features(genomes)
        ridge = RidgePredictor().fit(seen, seen @ rng.normal(size=seen.shape[1]))
        error = linear_table(features, ridge)
        for name, cost in (("latency_ms", table.factor_table(space)), ("size_bytes", cost_table(space, "size_bytes"))):
            tables = {"error": error, name: cost}
            started = time.perf_counter()
            exact = exact_front(space, tables)
            middle = time.perf_counter()
            found = evolve(space, tables, population=100, generations=200, rng=rng)
            ended = time.perf_counter()
            reference = exact.values.max(axis=0) + 0.1 * np.ptp(exact.values, axis=0)
            share = hypervolume(found.values, reference) / hypervolume(exact.values, reference)
            print(
                f"| error, {name} | {seed} | {len(exact)} | {middle - started:.2f} | {share:.4f} | {ended - middle:.1f} |",
                flush=True,
            )


def print_speed(paths: list[str]) -> None:
    """Print evaluations a second of `evolve` with tables beside pymoo with its own operators and a free objective."""
    print("\n| population | pymoo, free objective | evolve, tables | ratio |")
    print("|---" * 4 + "|")
    space = SPACES.get("mobilenet-28")()
    tables = {name: cost_table(space, name) for name in ("macs", "size_bytes")}
    if paths:
        measured = read_table(Path(paths[-1]))
        space = SPACES.get(measured.space)()
        tables = {"latency_ms": measured.factor_table(space), "size_bytes": cost_table(space, "size_bytes")}
    for population in (100, 500, 2000):
        generations = max(10, 20_000 // population)
        free = FreeProblem(space, lambda genomes: np.column_stack([genomes.sum(axis=1), -genomes.sum(axis=1)]).astype(float))
        algorithm = NSGA2(
            pop_size=population,
            sampling=IntegerRandomSampling(),
            crossover=SBX(prob=1.0, eta=3.0, vtype=float, repair=RoundingRepair()),
            mutation=PM(prob=1.0, eta=3.0, vtype=float, repair=RoundingRepair()),
        )
        started = time.perf_counter()
        minimize(free, algorithm, ("n_gen", generations), seed=0)
        theirs = len(free.seen) / (time.perf_counter() - started)
        counted = Counted(tables)
        started = time.perf_counter()
        evolve(space, counted.objectives(), population=population, generations=generations, rng=np.random.default_rng(0))
        ours = counted.n / (time.perf_counter() - started)
        print(f"| {population} | {theirs:.0f} | {ours:.0f} | {ours / theirs:.2f} |", flush=True)


def print_fit() -> None:
    """Print how long each predictor takes to learn 300 networks and to predict 20,000, with standard deviations."""
    print("\n| predictor | fit on 300, s | predict 20,000, s |\n|---|---|---|")
    space = SPACES.get("mobilenet-28")()
    rng = np.random.default_rng(0)
    seen = Features(space)
    features = seen(space.sample(20_300, rng))
    y = np.exp(features @ rng.normal(0, 0.1, features.shape[1]) + rng.normal(0, 0.02, len(features)))
    for name in PREDICTORS:
        started = time.perf_counter()
        model = build_predictor(name, seen).fit(features[:300], y[:300])
        middle = time.perf_counter()
        model.predict(features[300:], return_std=True)
        print(f"| {name} | {middle - started:.2f} | {time.perf_counter() - middle:.2f} |", flush=True)


class Counted:
    """Tables that count how many genomes they are asked for."""

    def __init__(self, tables: dict) -> None:
        self.tables = tables
        self.n = 0

    def objectives(self) -> dict:
        """Return the objectives; the first one counts."""

        def counting(genomes: np.ndarray) -> np.ndarray:
            self.n += len(genomes)
            return first(genomes)

        (name, first), *others = self.tables.items()
        return {name: counting, **dict(others)}


if __name__ == "__main__":
    main()
