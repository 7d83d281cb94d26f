"""Latency tables of several devices: how well they predict held-out networks, overall and within each uniform format.

    python experiments/benchmarks/latency.py --space mobilenet-digits --device onnxruntime --tables tables

Measures the table (or goes on with it, or reads it), then `--n-uniform` random networks of each uniform format, and prints a
row of Markdown for each format and one for the table. `--device` is a runtime's name or a device's YAML file, as in
`hwnas measure`. `--rounds`, `--n-fit` and `--n-held-out` are those of the table.
"""

import argparse
import os
import time

import numpy as np
from scipy.stats import kendalltau

from latency_tables.table.measure import measure_graphs
from latency_tables.table.plan import TableSettings, name_networks, reference_graph
from latency_tables.table.table import LatencyTable
from nas.run.tables import DeviceTable, table_of_space
from search_spaces.space.baselines import format_genes, formats


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="mobilenet-digits")
    parser.add_argument("--device", default="onnxruntime")
    parser.add_argument("--tables", default="tables", help="folder of tables")
    parser.add_argument("--rounds", type=int, default=TableSettings.rounds)
    parser.add_argument("--n-fit", type=int, default=TableSettings.n_fit)
    parser.add_argument("--n-held-out", type=int, default=TableSettings.n_held_out)
    parser.add_argument("--minutes", type=float, default=0, help="estimate the blocks for which there is no time")
    parser.add_argument("--n-uniform", type=int, default=30)
    options = parser.parse_args()
    config = TableSettings(
        rounds=options.rounds, n_fit=options.n_fit, n_held_out=options.n_held_out, time_budget_minutes=options.minutes
    )
    load = os.getloadavg()[0]
    of_space = table_of_space(options.space, options.device, config, options.tables)
    table = of_space.measure()
    print(f"\n`{table.fingerprint['backend']} {table.fingerprint['version']}`, load {load:.2f} before\n")
    report = table.report
    print("| space | device | parts | estimated | minutes | held-out | MAPE % | greatest % | tau | split-half % | valid |")
    print("|---" * 11 + "|")
    print(
        f"| {table.space} | {table.device} | {len(table.measurements)} | {len(table.estimated)} | {report.minutes:.1f} "
        f"| {report.n_held_out} | {report.mape:.2f} | {report.max_error:.1f} | {report.tau:.3f} "
        f"| {report.split_half:.2f} | {'yes' if report.is_valid else '; '.join(report.reasons)} |"
    )
    if options.n_uniform:
        print_groups(of_space, table, options.n_uniform)
    print_speed(of_space, table)


def print_groups(of_space: DeviceTable, table: LatencyTable, n: int) -> None:
    """Print error and rank within each uniform format, over networks that no fit has seen."""
    space, rng = of_space.space, np.random.default_rng(1000)
    print("\n| uniform format | networks | ms from | ms to | MAPE % | greatest % | tau | split-half % |")
    print("|---" * 8 + "|")
    for name in formats(space):
        genomes = space.sample(n, rng)
        for gene in format_genes(space):
            genomes[:, gene] = space.choices[gene].options.index(name)
        genomes = np.unique(space.canonicalize(genomes), axis=0)
        timings = measure_graphs(
            {name: subnet.graph for name, subnet in name_networks(space, genomes).items()},
            reference_graph(space),
            of_space.device,
            of_space.protocol,
            {},
            reference_ms=table.reference_ms,
        )
        measured = np.array([m.ms for m in timings.measurements.values()])
        split_half = 100 * np.mean([m.split_half for m in timings.measurements.values()])
        predicted = table.predict_ms(space, genomes)
        errors = 100 * np.abs(predicted / measured - 1)
        tau = kendalltau(predicted, measured).statistic
        print(
            f"| {name} | {len(genomes)} | {measured.min():.4f} | {measured.max():.4f} | {errors.mean():.2f} "
            f"| {errors.max():.1f} | {tau:.3f} | {split_half:.2f} |",
            flush=True,
        )


def print_speed(of_space: DeviceTable, table: LatencyTable) -> None:
    """Print how long it takes to price many genomes."""
    genomes = of_space.space.sample(100_000, np.random.default_rng(0))
    started = time.perf_counter()
    table.predict_ms(of_space.space, genomes)
    first = time.perf_counter() - started
    started = time.perf_counter()
    table.predict_ms(of_space.space, genomes)
    again = time.perf_counter() - started
    print(f"\npredict_ms of 100,000 genomes: {first:.2f} s at first, {again:.2f} s again; table: {of_space.path.name}")


if __name__ == "__main__":
    main()
