"""The verdict of latency tables against the truth: tables made quiet and beside busy processes, re-timed when all is quiet.

    python experiments/benchmarks/verdict.py --tables runs/verdict --repeats 5 --busy 0 1 2

Measures a table for each repeat and number of busy processes, each with networks of its own, then times its held-out
networks again with nothing beside it; what is there already is not measured again. Prints a row for each table: what its
own report says, the mean error of its predictions against the second timing, and the verdict. Leave the machine alone
meanwhile.
"""

import argparse
import json
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau

from latency_tables.table.measure import measure_graphs
from latency_tables.table.plan import TableSettings, reference_graph
from latency_tables.table.table import LatencyTable
from latency_tables.table.validate import doubts
from latency_tables.timing.protocol import Protocol
from nas.run.tables import DeviceTable, table_of_space


def main() -> None:
    """Measure what is missing, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="mobilenet-digits")
    parser.add_argument("--device", default="onnxruntime")
    parser.add_argument("--tables", type=Path, default=Path("runs/verdict"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1, 2], help="processes that compute beside it")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=TableSettings.seconds, help="length of a burst")
    parser.add_argument("--patience", type=float, default=TableSettings.retry_budget)
    options = parser.parse_args()
    config = TableSettings(rounds=options.rounds, seconds=options.seconds, retry_budget=options.retry_budget)
    columns = "busy,repeat,minutes,disturbed %,drift %,split-half %,MAPE %,tau,tau of those apart,true MAPE %,true tau,valid"
    print(f"| {' | '.join(columns.split(','))} |")
    print("|---" * 12 + "|")
    for repeat in range(options.repeats):
        for busy in options.busy:
            folder = options.tables / f"{busy}-{repeat}"
            of_space = table_of_space(options.space, options.device, config, str(folder))
            of_space = replace(of_space, seed=repeat)
            with beside(busy):
                table = of_space.measure()
            print(f"| {busy} | {repeat} {row(table, retimed(of_space, table))}", flush=True)


@contextmanager
def beside(n: int) -> Iterator[None]:
    """Let `n` processes compute meanwhile."""
    processes = [multiprocessing.Process(target=compute, daemon=True) for _ in range(n)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


def compute() -> None:
    """Sort numbers for ever, on one thread: arithmetic, branches and some memory."""
    numbers = np.random.default_rng(0).random(200_000)
    while True:
        np.sort(numbers)


def retimed(of_space: DeviceTable, table: LatencyTable) -> np.ndarray:
    """Return the milliseconds of the held-out networks, timed now in the table's units or read, shape `(n,)`."""
    file = of_space.path.with_name("retimed.json")
    if not file.exists():
        time.sleep(5)  # until nothing is left of what computed beside
        networks = list(of_space.plan().networks.items())[table.report.n_fit :]
        graphs = {name: subnet.graph for name, subnet in networks}
        reference = reference_graph(of_space.space)
        protocol = Protocol()
        timings = measure_graphs(graphs, reference, of_space.device, protocol, {}, reference_ms=table.reference_ms)
        print(f"re-timed: {100 * timings.disturbed:.0f} % disturbed")
        file.write_text(json.dumps([m.ms for m in timings.measurements.values()]))
    return np.array(json.loads(file.read_text()))


def row(table: LatencyTable, truth: np.ndarray) -> str:
    """Return a row: the report of a table, its error against the truth, and the verdict by the rule as it is now."""
    report = table.report
    predicted = np.array(report.held_out)[:, 1]
    reasons = doubts(report)
    error, tau = 100 * np.abs(predicted / truth - 1).mean(), kendalltau(predicted, truth).statistic
    return (
        f"| {report.minutes:.1f} | {report.disturbed:.0f} | {report.drift:+.1f} | {report.split_half:.2f} "
        f"| {report.mape:.2f} | {report.tau:.3f} | {report.clear_pairs.mean():.3f} | {error:.2f} "
        f"| {tau:.3f} | {'; '.join(reasons) or 'yes'} |"
    )


if __name__ == "__main__":
    main()
