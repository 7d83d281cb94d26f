"""Time of exact fronts of spaces with long skips: a linear prediction against packed bytes, and against a made-up latency.

    python experiments/benchmarks/exact_fronts.py

The latency is that of the latency model with random times of blocks and transitions: as entangled as a measured one.
"""

import time

import numpy as np

from latency_tables.table.latency_model import (
    block_features,
    consumer_key,
    iterate_parts,
    producer_key,
    sort_parts,
    transition_features,
)
from nas.search import exact_front
from predictors import Features
from predictors.models.linear_table import linear_table
from predictors.models.ridge import RidgePredictor
from search_spaces import SPACES, FactorTable, SearchSpace, cost_table
from search_spaces.space.factor import combine


def made_up_latency(space: SearchSpace, rng: np.random.Generator) -> FactorTable:
    """Return a latency of random times of parts."""
    parts = sort_parts({name: rng.uniform(0.1, 1) for name, _ in iterate_parts(space)})
    slopes = rng.uniform(0.5, 1.5, 7)
    factors = [combine(lambda b: float(block_features(parts, b) @ slopes) if b else 0.0, [f]) for f in space.blocks]
    factors += [
        combine(lambda pair: float(transition_features(parts, *pair) @ slopes) if pair else 0.0, [factor])
        for factor in space.transitions(producer_key, consumer_key)
    ]
    return FactorTable(tuple(factor.reduced().astype(float) for factor in factors))


def main() -> None:
    """Print a row for each space."""
    for name in ("edsr", "unet"):
        space, rng = SPACES.get(name)(), np.random.default_rng(0)
        genomes = space.sample(200, rng)
        features = Features(space)
        predictor = RidgePredictor().fit(features(genomes), rng.normal(size=200))
        tables = {
            "error": linear_table(features, predictor),
            "latency_ms": made_up_latency(space, rng),
            "size_bytes": cost_table(space, "size_bytes"),
        }
        for chosen, tolerance in ((("error", "size_bytes"), 0.0), (("error", "latency_ms"), 0.0), (tuple(tables), 0.02)):
            started = time.perf_counter()
            front = exact_front(space, {key: tables[key] for key in chosen}, tolerance=tolerance)
            seconds = time.perf_counter() - started
            print(f"| {name} | {space.size:,} | {', '.join(chosen)} | {tolerance} | {len(front.genomes)} | {seconds:.2f} |")


if __name__ == "__main__":
    main()
