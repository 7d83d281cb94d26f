"""A new device from k measurements, on real latencies of 15,625 networks on nine devices, one device held out in turn.

    python experiments/benchmarks/transfer.py PATH/nasbench201.csv.gz

Prints the Spearman correlation of prediction and truth over all networks that were not measured: mean over the devices and
over `--seeds` random draws of the k networks, for `transfer` on random networks and on those that
`choose` names, ridge regression on the other devices' logarithms, and the
source that correlates best with the k measurements.
"""

import argparse
import time

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from sklearn.linear_model import RidgeCV

from latency_tables.transfer import choose, transfer

OPERATORS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--k", type=int, nargs="+", default=[5, 10, 20, 50])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    options = parser.parse_args()
    table = pd.read_csv(options.data)
    devices = list(table.columns[7:])
    ms = np.maximum(table[devices].to_numpy(float), 1e-3)
    features = np.column_stack([table["arch"].str.count(operator) for operator in OPERATORS]).astype(float)
    print("| k | method | " + " | ".join(devices) + " | mean | sd over seeds | s each |")
    print("|---" * (len(devices) + 5) + "|")
    for k in options.k:
        for name, method in METHODS.items():
            found = np.zeros((len(options.seeds), len(devices)))
            started = time.perf_counter()
            for i, seed in enumerate(options.seeds):
                for j in range(len(devices)):
                    rng, sources = np.random.default_rng([seed, j]), np.delete(ms, j, axis=1)
                    chosen = rng.choice(len(ms), k, replace=False)
                    if name == CHOSEN:
                        chosen = choose(sources, features, k, rng)
                    predicted = method(sources, features, chosen, ms[chosen, j])
                    rest = np.setdiff1d(np.arange(len(ms)), chosen)
                    found[i, j] = spearmanr(predicted[rest], ms[rest, j]).statistic
            seconds = (time.perf_counter() - started) / found.size
            cells = " | ".join(f"{value:.3f}" for value in found.mean(axis=0))
            deviation = found.mean(axis=1).std(ddof=1) if len(found) > 1 else 0.0
            print(f"| {k} | {name} | {cells} | **{found.mean():.4f}** | {deviation:.4f} | {seconds:.2f} |", flush=True)


def ridge(sources: np.ndarray, _: np.ndarray, chosen: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Ridge regression of the logarithm on the other devices' standardised logarithms."""
    logs = np.log(sources)
    rows = (logs - logs.mean(axis=0)) / logs.std(axis=0)
    return RidgeCV(np.logspace(-2, 3, 20)).fit(rows[chosen], np.log(measured)).predict(rows)


def best_source(sources: np.ndarray, _: np.ndarray, chosen: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """The source that ranks the measured networks best."""
    scores = [spearmanr(source[chosen], measured).statistic for source in sources.T]
    return sources[:, int(np.nanargmax(scores))]


CHOSEN = "transfer, chosen"
METHODS = {"transfer": transfer, CHOSEN: transfer, "ridge": ridge, "best source": best_source}


if __name__ == "__main__":
    main()
