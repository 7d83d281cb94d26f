"""What the loss and cheap signals bring to a search: supernets on digits and on a part of Fashion-MNIST.

    python experiments/benchmarks/signals.py digits --seed 0 --part train tau search --runs runs/signals

`train`: the supernet, of the experiment's schedule, or 10 + 4 epochs on 10,000 images of Fashion-MNIST.
`tau`: predictors that learned from 80 measured networks, with the validation loss of the others; mean over eight
draws.
`search`: networks that are measured in searches, after 20, 40 and 80 of them the front that the validation split says, and
of it the hypervolume by test loss and packed bytes, over that of the best front of everything that was ever measured. With
`--before` under an earlier version, in its environment: by validation error, without signals.

Everything that is measured is kept in the folder and never measured twice.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from fashion_subset import fit
from scipy.special import logsumexp

from nas.data.load import load_dataset
from nas.objectives.supernet_evaluator import SupernetEvaluator, predict
from nas.search import hypervolume, non_dominated, search
from nas.supernet.supernet import Supernet
from nas.tasks.classification import Classification
from nas.tasks.spaces import build_space
from nas.training.schedule import Schedule
from search_spaces import cost_table

MARKS = (20, 40, 80)
N_RANDOM = {"digits": 300, "fashion": 160}
N_DRAWS = 8


class Truth:
    """What is measured of networks: calibrated once, scored on both splits; kept in a file.

    Args:
        what: `digits` or `fashion`.
        seed: Of the supernet.
        folder: Holds supernets and what was measured.
        n_eval: Validation and test samples that are used at most.
    """

    def __init__(self, what: str, seed: int, folder: Path, n_eval: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name, self.what, self.folder, self.seed = f"{what}{seed}", what, folder, seed
        self.data = load_dataset("digits", n_val=360) if what == "digits" else load_dataset("fashion_mnist", n_val=10_000)
        self.schedule = Schedule(compile=False)
        if what == "fashion":
            train = {name: array[:10_000] for name, array in self.data.train.items()}
            val, test = ({name: array[:n_eval] for name, array in part.items()} for part in (self.data.val, self.data.test))
            self.data = replace(self.data, train=train, val=val, test=test)
            self.schedule = Schedule(float_epochs=10, quantized_epochs=4, batch_size=32)
        self.task = Classification.of(self.data)
        self.space = build_space("mobilenet-digits" if what == "digits" else "mobilenet-28", self.task)
        self.size = cost_table(self.space, "size_bytes")
        self.path = folder / f"{self.name}.jsonl"
        self.known: dict[str, dict[str, float]] = {}
        if self.path.exists():
            rows = [json.loads(line) for line in self.path.read_text().splitlines()]
            self.known = {row.pop("genes"): row for row in rows}

    def train(self) -> None:
        """Train the supernet, or go on."""
        file = self.folder / f"{self.name}.pt"
        if not file.exists():
            supernet, minutes = fit(self.space, self.data, self.schedule, file.with_suffix(".ckpt"), self.seed)
            torch.save(supernet.state_dict(), file)
            print(f"{self.name} trained in {minutes:.1f} minutes", flush=True)

    def evaluator(self) -> SupernetEvaluator:
        """Return what measures networks of the supernet."""
        supernet = Supernet(self.space)
        supernet.load_state_dict(torch.load(self.folder / f"{self.name}.pt"))
        return SupernetEvaluator(supernet.eval(), self.task, self.data)

    def values(self, evaluator: SupernetEvaluator, genomes: np.ndarray) -> dict[str, np.ndarray]:
        """Return error and loss on both splits by name, each `(n,)`."""
        rows = []
        for genome in genomes:
            genes = " ".join(map(str, genome))
            if genes not in self.known:
                self.known[genes] = self._measure(evaluator, genome)
                with self.path.open("a") as file:
                    file.write(json.dumps({"genes": genes, **self.known[genes]}) + "\n")
            rows.append(self.known[genes])
        return {name: np.array([row[name] for row in rows]) for name in rows[0]}

    def _measure(self, evaluator: SupernetEvaluator, genome: np.ndarray) -> dict[str, float]:
        graph = self.space.subnet(genome).graph
        calibration, found = evaluator.calibrate(graph), {}
        for split in ("val", "test"):
            samples = self.data.splits[split]
            output = predict(evaluator.supernet, graph, calibration, torch.from_numpy(samples["images"])).double().numpy()
            losses = logsumexp(output, axis=1) - output[np.arange(len(output)), samples["labels"]]
            wrong = output.argmax(axis=1) != samples["labels"]
            found |= {f"error_{split}": 100 * float(wrong.mean()), f"loss_{split}": float(losses.mean())}
        return found

    def random(self) -> np.ndarray:
        """Return distinct random networks, the same ones each time."""
        n = N_RANDOM[self.what]
        drawn = np.unique(self.space.sample(2 * n, np.random.default_rng(1000 + self.seed)), axis=0)
        return np.random.default_rng(0).permutation(drawn)[:n]


def main() -> None:
    """Run the parts and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("digits", "fashion"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", nargs="+", default=["train", "tau", "search"])
    parser.add_argument("--runs", type=Path, default=Path("runs/signals"))
    parser.add_argument("--before", action="store_true", help="as before there were losses and signals")
    parser.add_argument("--strategies", nargs="+", default=["loss+signal"], help="error, loss, loss+signal, or effects")
    parser.add_argument("--n-eval", type=int, default=4_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--signals", nargs="+", default=[], help="of part tau; none: all of them")
    parser.add_argument("--samples", type=int, default=0, help="of the uncalibrated loss; 0: as many as it takes by itself")
    parser.add_argument("--pool", choices=("random", "all"), default="random", help="all: what searches measured, too")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    truth = Truth(options.what, options.seed, options.runs, options.n_eval)
    if "train" in options.part:
        truth.train()
    evaluator = truth.evaluator()
    if "tau" in options.part:
        show_tau(truth, evaluator, options)
    if "search" in options.part:
        for strategy in ["before"] if options.before else options.strategies:
            run_search(truth, evaluator, strategy)
    if "show" in options.part:
        show_searches(truth)


def show_tau(truth: Truth, evaluator: SupernetEvaluator, options: argparse.Namespace) -> None:
    """Print how predictors that learned from 80 networks rank the others by validation loss."""
    from nas.objectives import signals as module
    from nas.objectives.signals import SIGNALS
    from predictors import Features, build_predictor, ranking_metrics

    module.N_SAMPLES = options.samples or module.N_SAMPLES
    genomes = truth.random()
    if options.pool == "all":
        genomes = np.array([[int(gene) for gene in genes.split()] for genes in truth.known], np.int16)
    values = truth.values(evaluator, genomes)
    y, error = np.log(values["loss_val"]), values["error_val"]
    plain = Features(truth.space)
    seen, known = plain(genomes), {}
    for name in options.signals or SIGNALS:
        started = time.perf_counter()
        signal = SIGNALS.get(name)(evaluator)
        known[name] = signal, signal.values(genomes).reshape(len(genomes), -1)
        print(f"{truth.name} {name}: {1000 * (time.perf_counter() - started) / len(genomes):.0f} ms a network", flush=True)
    sets = {"none, learns the error": None, "none": ()} | {name: (name,) for name in known} | {"all": tuple(known)}
    for title, names in sets.items():
        signals = [known[name] for name in names or ()]
        features = plain.with_signals(tuple(signal for signal, _ in signals))
        x = np.column_stack([seen, *(array for _, array in signals)])
        taus = []
        for draw in range(N_DRAWS):
            order = np.random.default_rng(draw).permutation(len(y))
            few, rest = order[:80], order[80:]
            target = np.log(error + 0.1) if names is None else y
            predicted = build_predictor("gaussian_process", features).fit(x[few], target[few]).predict(x[rest])
            best = np.argsort(y[rest])[: len(rest) // 4]
            taus.append([ranking_metrics(predicted, y[rest]).tau, ranking_metrics(predicted[best], y[rest][best]).tau])
        mean, sd = np.mean(taus, axis=0), np.std(taus, axis=0)
        print(f"| {truth.name} | {title} | {mean[0]:.3f} ± {sd[0]:.3f} | {mean[1]:.3f} ± {sd[1]:.3f} |", flush=True)


def run_search(truth: Truth, evaluator: SupernetEvaluator, strategy: str) -> None:
    """Search, and keep the networks in the order in which they were measured; one that was done is not done again."""
    file = truth.folder / f"{truth.name}-{strategy}.json"
    if file.exists():
        return
    by_loss = strategy not in ("before", "error")

    def measure(genomes: np.ndarray) -> dict[str, np.ndarray]:
        values = truth.values(evaluator, genomes)
        return {"error": values["error_val"]} | ({"loss": values["loss_val"]} if by_loss else {})

    settings: dict[str, object] = {}
    if by_loss:
        from nas.search.order import ByLoss

        settings = {"objectives": ["error"], "orders": {"error": ByLoss("loss")}}
    if strategy in ("loss+signal", "effects"):
        from nas.objectives.signals import SIGNALS

        settings["signals"] = {"error": [SIGNALS.get("loss")(evaluator)]}
    if strategy == "effects":
        settings["strategy"] = "effects"
    started = time.perf_counter()
    rng = np.random.default_rng(truth.seed)
    cheap = {"size_bytes": truth.size}
    result = search(truth.space, measure, cheap=cheap, n_measurements=MARKS[-1], rng=rng, **settings)
    seconds = time.perf_counter() - started
    file.write_text(json.dumps({"genomes": result.genomes.tolist(), "seconds": seconds}))
    print(f"{truth.name} {strategy}: {seconds:.0f} s", flush=True)


def show_searches(truth: Truth) -> None:
    """Print hypervolumes by test loss, and by test error, of the fronts that validation says."""
    everything = dict(truth.known)
    genomes = np.array([[int(gene) for gene in genes.split()] for genes in everything], np.int16)
    size = truth.size(genomes)
    table = {name: np.array([row[name] for row in everything.values()]) for name in next(iter(everything.values()))}
    place = {genes: i for i, genes in enumerate(everything)}
    random = np.array([place[" ".join(map(str, genome))] for genome in truth.random()])

    def share(of: str) -> Callable[[np.ndarray], float]:
        points = np.column_stack([np.log(table[of] + (of == "error_test")), np.log(size)])
        reference = np.array([np.quantile(points[random, 0], 0.9), points[:, 1].max()])
        whole = hypervolume(points, reference)
        return lambda rows: hypervolume(points[rows], reference) / whole

    volume, by_error = share("loss_test"), share("error_test")
    for file in sorted(truth.folder.glob(f"{truth.name}-*.json")):
        content = json.loads(file.read_text())
        rows = np.array([place[" ".join(map(str, genome))] for genome in content["genomes"]])
        criterion = "error_val" if file.stem.endswith(("before", "error")) else "loss_val"
        cells = []
        for mark in MARKS:
            first = rows[:mark]
            front = first[non_dominated(np.column_stack([table[criterion][first], size[first]]))]
            cells.append(f"{volume(front):.3f} ({by_error(front):.3f})")
        print(f"| {file.stem} | {' | '.join(cells)} | {content['seconds']:.0f} |", flush=True)


if __name__ == "__main__":
    main()
