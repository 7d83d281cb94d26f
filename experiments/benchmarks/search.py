"""Searches against known truth: 15,625 networks trained for real, latencies of nine real devices.

    python experiments/benchmarks/search.py PATH/nasbench201.csv.gz

Error (100 - cifar100-test) and latency both count as expensive. Prints the hypervolume of what was found over that of the
true front after 50, 100, 150 and 300 distinct measurements, reference point at the 90 % quantile of error and the 99 %
quantile of latency: mean over devices and seeds, and standard deviation over seeds of the mean over devices.
"""

import argparse
import time

import numpy as np
import pandas as pd

from nas.search import hypervolume, search
from search_spaces import Choice, TabularSpace

OPERATORS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
MARKS = (50, 100, 150, 300)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--devices", nargs="+")
    parser.add_argument("--marks", type=int, nargs="+", default=MARKS)
    parser.add_argument("--predictors", nargs="+", default=["auto"])
    parser.add_argument("--batch", type=int, default=3)
    parser.add_argument("--free-latency", action="store_true", help="latency is a table: it costs nothing")
    options = parser.parse_args()
    table = pd.read_csv(options.data)
    print("| strategy | " + " | ".join(str(mark) for mark in options.marks) + " | sd | s a run |")
    print("|---" * (len(options.marks) + 3) + "|")
    for predictors in options.predictors:
        shares, seconds = [], []
        for seed in options.seeds:
            for device in options.devices or table.columns[7:]:
                started = time.perf_counter()
                shares.append(run(table, device, predictors, seed, options))
                seconds.append(time.perf_counter() - started)
        found = np.array(shares).reshape(len(options.seeds), -1, len(options.marks))
        deviation = found.mean(axis=1).std(axis=0, ddof=1) if len(options.seeds) > 1 else np.zeros(len(options.marks))
        cells = " | ".join(f"{share:.4f}" for share in found.mean(axis=(0, 1)))
        deviations = ", ".join(f"{sd:.4f}" for sd in deviation)
        print(f"| {predictors}, batch {options.batch} | {cells} | {deviations} | {np.mean(seconds):.1f} |", flush=True)


def run(table: pd.DataFrame, device: str, predictors: str, seed: int, options: argparse.Namespace) -> list[float]:
    """Return the share of the true front's hypervolume after each mark."""
    space = TabularSpace([Choice(f"edge{i}", OPERATORS) for i in range(6)])
    operators = table["arch"].str.findall(r"(\w+)~")
    values = np.column_stack([100 - table["cifar100-test"], np.maximum(table[device], 1e-3)])
    rows = {tuple(OPERATORS.index(o) for o in names): value for names, value in zip(operators, values, strict=True)}

    def look_up(genomes: np.ndarray) -> np.ndarray:
        return np.array([rows[tuple(genome)] for genome in genomes])

    cheap = {"latency_ms": lambda genomes: look_up(genomes)[:, 1]} if options.free_latency else {}

    def measure(genomes: np.ndarray) -> dict[str, np.ndarray]:
        error, latency = look_up(genomes).T
        return {"error": error} if options.free_latency else {"error": error, "latency_ms": latency}

    result = search(
        space,
        measure,
        cheap=cheap,
        n_measurements=max(options.marks),
        predictors=predictors,
        batch=options.batch,
        rng=np.random.default_rng(seed),
    )
    reference = np.array([np.quantile(values[:, 0], 0.9), np.quantile(values[:, 1], 0.99)])
    whole = hypervolume(values, reference)
    found = result.archive[["error", "latency_ms"]].to_numpy(float)
    return [hypervolume(found[:mark], reference) / whole for mark in options.marks]


if __name__ == "__main__":
    main()
