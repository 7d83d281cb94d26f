"""Searches against known truth: 15,625 networks trained for real, latencies of nine real devices.

    python experiments/benchmarks/search.py PATH/nasbench201.csv.gz --strategies predictor nsga2 random --raw runs/search.csv

Error (100 - cifar100-test) and latency both count as expensive, with `--free-latency` the error alone. Prints the
hypervolume of what was found over that of the true front after 50, 100, 150 and 300 distinct measurements, reference point
at the 90 % quantile of error and the 99 % quantile of latency: mean over devices and seeds, and standard deviation over
seeds of the mean over devices. Every finished search is a line of the raw file; those that stand there are not done again.
"""

import argparse
import itertools
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
import optuna
import pandas as pd

from nas.search import hypervolume, search
from nas.search.acquisition import Scale
from predictors import Features, Signal, build_predictor
from search_spaces import Cell, Choice, TabularSpace

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
OPERATORS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
MARKS = (50, 100, 150, 300)
PRIOR = ":prior"  # behind a strategy: begun with what 100 measurements say of CIFAR-10
MISLED = ":misled"  # the same turned upside down: what is bad there is promised to be good
N_PRIOR = 100
PRIOR_MARKS = (6, 10, 20, 30)
SAMPLERS = {"gp": optuna.samplers.GPSampler, "tpe": optuna.samplers.TPESampler}
KEYS = ["strategy", "free_latency", "seed", "device"]
PLAIN = ":plain"  # behind a strategy: without the topology of the cell


def main() -> None:
    """Run what the raw file lacks, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--raw", type=Path, default=Path("runs/search.csv"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument(
        "--strategies",
        nargs="+",
        default=["predictor:gaussian_process"],
        help="NAME, predictor:NAME, :plain, :prior or :misled behind; bare:gp, bare:tpe (Optuna's), bare:botorch",
    )
    parser.add_argument("--n", type=int, default=300, help="measurements of a search")
    parser.add_argument("--free-latency", action="store_true", help="latency is a table: it costs nothing")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    table = pd.read_csv(options.data)
    done = pd.read_csv(options.raw) if options.raw.exists() else pd.DataFrame(columns=[*KEYS, "n"])
    finished = {tuple(row[:4]) for row in done[done["n"] >= options.n][KEYS].itertuples(index=False)}
    wanted = itertools.product(options.strategies, [options.free_latency], options.seeds, table.columns[7:])
    due = [keys for keys in wanted if keys not in finished]
    options.raw.parent.mkdir(parents=True, exist_ok=True)
    results = joblib.Parallel(n_jobs=options.jobs, return_as="generator_unordered")(
        joblib.delayed(run)(table, *keys, options.n) for keys in due
    )
    for row in results:
        pd.DataFrame([row]).to_csv(options.raw, mode="a", header=not options.raw.exists(), index=False)
    show(pd.read_csv(options.raw), options)


def run(table: pd.DataFrame, strategy: str, free_latency: bool, seed: int, device: str, n: int) -> dict[str, object]:
    """Search once; return the share of the true front's hypervolume after each mark."""
    name, _, predictor = strategy.removesuffix(PLAIN).removesuffix(PRIOR).removesuffix(MISLED).partition(":")
    topology = not strategy.endswith(PLAIN)
    data = "cifar10-test" if device.endswith(PRIOR) else "cifar100-test"
    column = device.removesuffix(PRIOR)
    cell = Cell({f"edge{i}": ends for i, ends in enumerate(EDGES)}) if topology else None
    space = TabularSpace([Choice(f"edge{i}", OPERATORS) for i in range(6)], cell=cell)
    operators = table["arch"].str.findall(r"(\w+)~")
    values = np.column_stack([100 - table[data], np.maximum(table[column], 1e-3)])
    rows = {tuple(OPERATORS.index(o) for o in names): value for names, value in zip(operators, values, strict=True)}

    def look_up(genomes: np.ndarray) -> np.ndarray:
        return np.array([rows[tuple(genome)] for genome in genomes])

    def measure(genomes: np.ndarray) -> dict[str, np.ndarray]:
        error, latency = look_up(genomes).T
        return {"error": error} if free_latency else {"error": error, "latency_ms": latency}

    signals = priors(table, strategy, seed, device, space) if strategy.endswith((PRIOR, MISLED)) else {}
    started = time.perf_counter()
    if predictor == "botorch":
        from botorch_search import ask_botorch  # in an environment of its own

        found = ask_botorch(np.array(list(rows)), look_up, seed, n)
    elif name == "bare":
        found = ask_bare(predictor, look_up, seed, n)
    else:
        result = search(
            space,
            measure,
            cheap={"latency_ms": lambda genomes: look_up(genomes)[:, 1]} if free_latency else {},
            n_measurements=n,
            signals=signals,
            strategy=name,
            options={"predictors": predictor} if predictor else {},
            rng=np.random.default_rng(seed),
        )
        found = result.archive[["error", "latency_ms"]].to_numpy(float)
        if device.endswith(PRIOR):
            return {"genomes": result.genomes, "values": found}
    seconds = time.perf_counter() - started
    reference = np.array([np.quantile(values[:, 0], 0.9), np.quantile(values[:, 1], 0.99)])
    whole = hypervolume(values, reference)
    marks = [*PRIOR_MARKS, *MARKS]
    shares = {str(mark): hypervolume(found[:mark], reference) / whole if mark <= n else np.nan for mark in marks}
    return {
        "strategy": strategy,
        "free_latency": free_latency,
        "seed": seed,
        "device": device,
        "n": n,
        **shares,
        "s": seconds,
    }


def priors(table: pd.DataFrame, strategy: str, seed: int, device: str, space: TabularSpace) -> dict[str, list[Signal]]:
    """Return what a search on CIFAR-10, same device and seed, predicts of both objectives."""
    earlier = run(table, strategy.removesuffix(PRIOR).removesuffix(MISLED), False, seed, device + PRIOR, N_PRIOR)
    found, sign = {}, -1 if strategy.endswith(MISLED) else 1
    for name, y in zip(("error", "latency_ms"), np.transpose(earlier["values"]), strict=True):
        features = Features(space, sees_cell=name == "error")
        model = build_predictor("gaussian_process", features).fit(features(earlier["genomes"]), Scale.of(y).forward(y))
        found[name] = [Signal("CIFAR-10", lambda genomes, f=features, m=model: sign * m.predict(f(genomes)), slope=1.0)]
    return found


def ask_bare(sampler: str, look_up: Callable[[np.ndarray], np.ndarray], seed: int, n: int) -> np.ndarray:
    """Optimize by a sampler of Optuna with nothing of hwnas around it.

    A network that it asks for again is evaluated again, at no cost, up to ten times as many trials as networks.

    Returns:
        Error and latency of the distinct networks in the order of their first trial, shape `(at most n, 2)`.
    """
    found: dict[tuple[int, ...], tuple[float, float]] = {}

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        genome = tuple(trial.suggest_categorical(f"edge{i}", range(len(OPERATORS))) for i in range(6))
        error, latency = look_up(np.array([genome]))[0].tolist()
        found.setdefault(genome, (error, latency))
        if len(found) == n:
            trial.study.stop()
        return error, latency

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    study = optuna.create_study(sampler=SAMPLERS[sampler](seed=seed), directions=["minimize", "minimize"])
    study.optimize(objective, n_trials=10 * n)
    return np.array(list(found.values()))


def show(raw: pd.DataFrame, options: argparse.Namespace) -> None:
    """Print mean and spread of the searches that were asked for."""
    marks = [str(mark) for mark in (*PRIOR_MARKS, *MARKS) if mark <= options.n]
    print(f"| strategy | {' | '.join(marks)} | sd over seeds | s a measurement |")
    print("|---" * (len(marks) + 3) + "|")
    for strategy in options.strategies:
        chosen = raw[(raw["strategy"] == strategy) & (raw["free_latency"] == options.free_latency)]
        chosen = chosen[chosen["seed"].isin(options.seeds) & (chosen["n"] == options.n)]
        by_seed = chosen.groupby("seed")[marks].mean()
        means = " | ".join(f"{mean:.4f}" for mean in by_seed.mean())
        deviations = ", ".join(f"{sd:.4f}" for sd in by_seed.std(ddof=1))
        print(f"| {strategy} | {means} | {deviations} | {(chosen['s'] / chosen['n']).mean():.3f} |")


if __name__ == "__main__":
    main()
