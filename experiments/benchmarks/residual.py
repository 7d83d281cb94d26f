"""Does a float accuracy predictor save quantized measurements? On the networks of a real run.

    python experiments/benchmarks/residual.py runs/digits

Measures random float32 networks and random networks in other formats, validation split. A Gaussian process learns the float
ones; the error of the others is then predicted from few of them: by a Gaussian process alone, and as a residual on the float
prediction of the same architecture. Prints Kendall's tau on the networks that were not learned from, mean over draws.
"""

import argparse
from functools import partial

import numpy as np
from rich.progress import track

from nas.run.run import Run
from predictors import Features, ResidualPredictor, build_predictor, ranking_metrics, with_prior
from search_spaces.space.baselines import format_genes


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--n-float", type=int, default=120)
    parser.add_argument("--n-quantized", type=int, default=120)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    run = Run.open(options.run)
    space, evaluator, rng = run.space, run.evaluator(), np.random.default_rng(options.seed)
    features = Features(space)
    genes = format_genes(space)

    def as_float(genomes: np.ndarray) -> np.ndarray:
        changed = genomes.copy()
        changed[:, genes] = [space.choices[gene].options.index("float32") for gene in genes]
        return space.canonicalize(changed)

    floats = np.unique(as_float(space.sample(2 * options.n_float, rng)), axis=0)
    floats = rng.permutation(floats)[: options.n_float]
    quantized = np.unique(space.sample(options.n_quantized, rng), axis=0)
    float_errors = np.concatenate([evaluator.measure(row[None])["error"] for row in track(floats, "float networks")])
    errors = np.concatenate([evaluator.measure(row[None])["error"] for row in track(quantized, "quantized networks")])
    prior = build_predictor("gaussian_process", features).fit(features(floats), float_errors)
    alone, both = (
        features(quantized),
        with_prior(features(quantized), prior.predict(features(as_float(quantized)))),
    )
    build = partial(build_predictor, "gaussian_process", features)
    print(f"{len(floats)} float networks, {len(quantized)} quantized; tau of the float prediction by itself: ", end="")
    print(f"{ranking_metrics(both[:, -1], errors).tau:.3f}\n")
    print("| quantized networks learned from | alone | residual |\n|---|---|---|")
    for n in (size for size in (5, 10, 20, 40, 80) if 2 * size <= len(quantized)):
        taus = []
        for _ in range(options.draws):
            order = rng.permutation(len(quantized))
            few, rest = order[:n], order[n:]
            plain = build().fit(alone[few], errors[few]).predict(alone[rest])
            corrected = ResidualPredictor(build()).fit(both[few], errors[few]).predict(both[rest])
            taus.append([ranking_metrics(plain, errors[rest]).tau, ranking_metrics(corrected, errors[rest]).tau])
        mean, deviation = np.nanmean(taus, axis=0), np.nanstd(taus, axis=0)
        print(f"| {n} | {mean[0]:.3f} (sd {deviation[0]:.3f}) | {mean[1]:.3f} (sd {deviation[1]:.3f}) |")


if __name__ == "__main__":
    main()
