"""How a supernet is best trained on once a first front is known: equal minutes for every way, on 10,000 training images.

    python experiments/benchmarks/specialise.py --seed 0 --folder runs/specialise --table TABLE.json

A supernet of the whole space is trained for 6 float and 2 quantized epochs and searched; then it is trained on, each time
from there, for as long as 4 + 2 epochs of the whole space take: by the sandwich rule, around the front, on a part of the
space. Told are the mean test errors of eight networks of the front in their own formats, of eight that differ from these in
two choices, of the largest, and of those networks of each part that are nearest to the eight of the front, by which parts
are compared. Goes on where it was stopped.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from fashion_subset import add_options, fit, prepare

from nas.data.dataset import Dataset
from nas.objectives.supernet_evaluator import SupernetEvaluator
from nas.objectives.table_files import read_table
from nas.quantizers.compiled import compiled_quantizer
from nas.search import non_dominated, search
from nas.search.narrowing import n_architectures, narrow
from nas.search.pareto import Front
from nas.supernet.supernet import Supernet
from nas.tasks.classification import Classification
from nas.training.checkpoint import load_tensors, save_tensors
from nas.training.samplers import SAMPLERS, Around, Moment, draw_graphs
from nas.training.schedule import SamplerSettings, Schedule
from nas.training.step import training_step
from nas.training.trainer import init_from, train
from predictors import Features, RidgePredictor, linear_table
from search_spaces import SPACES, SearchSpace
from search_spaces.costs import FactorTable
from search_spaces.space.baselines import format_genes, uniform_genome
from search_spaces.space.narrowing import NarrowedSpace
from search_spaces.space.space import Genomes

N_MEASURED = 60
SIZE = 50_000
WAYS: dict[str, tuple[str, dict[str, float], str]] = {
    "whole": ("sandwich", {}, "whole"),
    "front": ("front", {"neighbours": 0.0}, "whole"),
    "front+neighbours": ("front", {"neighbours": 0.5}, "whole"),
    "front+corners": ("front", {"neighbours": 0.5, "corners": 0.5}, "whole"),
    "half corners": ("sandwich", {"corners": 0.5}, "whole"),
    "no corners": ("sandwich", {"corners": 0.0}, "whole"),
    "pareto": ("pareto", {}, "whole"),
    "narrowed": ("sandwich", {}, "narrowed"),
    "narrowed, no corners": ("sandwich", {"corners": 0.0}, "narrowed"),
    "random part": ("sandwich", {}, "random"),
    "narrowed+front": ("front", {"neighbours": 0.5}, "narrowed"),
    "whole, experts": ("sandwich", {}, "whole"),
    "front+neighbours, experts": ("front", {"neighbours": 0.5}, "whole"),
}
"""By name: sampler, its options, and the space: the whole one, the part of the best score, a random part of that size."""
EXPERTS = {"whole, experts": 2, "front+neighbours, experts": 2}


def first_front(
    evaluator: SupernetEvaluator, latency: FactorTable, seed: int, file: Path
) -> tuple[Genomes, np.ndarray, np.ndarray]:
    """Return measured networks, their losses, and which are on the front of loss and latency; kept in a file."""
    space = evaluator.supernet.space
    if not file.exists():
        found = search(
            space,
            lambda genomes: {"cross_entropy": evaluator.measure(genomes)["cross_entropy"]},
            cheap={"latency_ms": latency},
            n_measurements=N_MEASURED,
            rng=np.random.default_rng(seed),
        )
        np.savez(file, genomes=found.genomes, loss=found.measurements.frame()["cross_entropy"].to_numpy())
    kept = np.load(file)
    genomes, loss = kept["genomes"], kept["loss"]
    return genomes, loss, non_dominated(np.column_stack([loss, latency(genomes)]))


def random_part(space: SearchSpace, size: int, rng: np.random.Generator) -> NarrowedSpace:
    """Return a part of a space of about a size, formats aside, from which random options were dropped."""
    formats = {space.choices[gene].name for gene in format_genes(space)}
    kept = {choice.name: choice.options for choice in space.choices if choice.name not in formats}
    while n_architectures(space, kept) > size:
        name = str(rng.choice([name for name, options in kept.items() if len(options) > 1]))
        dropped = int(rng.integers(len(kept[name])))
        kept[name] = kept[name][:dropped] + kept[name][dropped + 1 :]
    return NarrowedSpace(space, kept)


def neighbours(space: SearchSpace, genomes: Genomes, rng: np.random.Generator) -> Genomes:
    """Return networks that differ from given ones in two choices, formats aside."""
    moved = genomes.copy()
    free = np.setdiff1d(np.flatnonzero(space.cardinalities > 1), format_genes(space))
    for genome in moved:
        active = free[space.mask(genome[None])[0, free]]
        for gene in rng.choice(active, 2, replace=False):
            genome[gene] = (genome[gene] + rng.integers(1, space.cardinalities[gene])) % space.cardinalities[gene]
    return space.canonicalize(moved)


def nearest(part: NarrowedSpace, genomes: Genomes) -> Genomes:
    """Return, for each network of the whole space, the one of a part whose options are nearest, as genomes of the whole."""
    narrow = np.zeros((len(genomes), len(part.choices)), np.int16)
    for gene, choice in enumerate(part.choices):
        column = part.whole.gene[choice.name]
        left = np.array([part.whole.choices[column].options.index(option) for option in choice.options])
        narrow[:, gene] = np.abs(left[None] - genomes[:, column, None]).argmin(axis=1)
    return part.widened(part.canonicalize(narrow))


def seconds_a_step(space: SearchSpace, data: Dataset, schedule: Schedule, around: Around) -> tuple[float, float]:
    """Return the seconds of a step of the float and of the quantized stage, means of twelve after two."""
    supernet, task = Supernet(space, experts=schedule.experts), Classification.of(data)
    supernet.set_input_statistics(*data.input_statistics())
    supernet.fake_quantize, supernet.choose_scale = compiled_quantizer()
    optimizer = torch.optim.SGD(supernet.parameters(), lr=1e-3)
    batch = {name: torch.from_numpy(array[: schedule.batch_size]) for name, array in data.train.items()}
    sampler, rng = SAMPLERS.build(schedule.sampler.name, schedule.sampler.options), np.random.default_rng(0)
    found = []
    for epoch in (0.0, schedule.epochs - 0.1):
        times = []
        for _ in range(14):
            graphs = draw_graphs(sampler, Moment(space, schedule, epoch, around), rng)
            start = time.perf_counter()
            training_step(supernet, optimizer, task, batch, graphs, schedule)
            times.append(time.perf_counter() - start)
        found.append(float(np.mean(times[2:])))
    return found[0], found[1]


def main() -> None:
    """Train the whole space, then on in every way, and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--table", type=Path, required=True, help="latency table of the space")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    add_options(parser, n_train=10_000, float_epochs=6, quantized_epochs=2)
    options = parser.parse_args()
    data, schedule = prepare(options)
    data = replace(data, val={name: array[:2000] for name, array in data.val.items()})
    folder, seed, task = options.folder, options.seed, Classification.of(data)
    folder.mkdir(parents=True, exist_ok=True)
    space = SPACES.get("mobilenet-28")()
    wide, rows = folder / f"wide{seed}.safetensors", folder / f"rows{seed}.jsonl"
    if not wide.exists():
        supernet, minutes = fit(space, data, schedule, folder / f"wide{seed}.ckpt", seed)
        save_tensors(wide, supernet.state_dict(), {"minutes": minutes})
    supernet = Supernet(space)
    supernet.load_state_dict(load_tensors(wide)[0])
    evaluator = SupernetEvaluator(supernet.eval(), task, data, n_calibration=1000)
    latency = read_table(options.table).factor_table(space)
    genomes, loss, is_front = first_front(evaluator, latency, seed, folder / f"front{seed}.npz")
    features = Features(space)
    rank = linear_table(features, RidgePredictor().fit(features(genomes), np.log(loss)))
    front = genomes[is_front][np.argsort(latency(genomes[is_front]))]
    points = np.column_stack([np.log(loss), latency(genomes)])
    part = narrow(space, rank, latency, SIZE, Front.from_points(("rank", "cost"), genomes[is_front], points[is_front]))
    spread = front[np.linspace(0, len(front) - 1, 8).round().astype(int)]
    groups = {"front": spread, "near": neighbours(space, spread, np.random.default_rng(seed))}
    groups["largest"] = uniform_genome(space, "largest")[None]
    parts = {
        "narrowed": NarrowedSpace(space, part.kept, part.ties),
        "random": random_part(space, SIZE, np.random.default_rng(100 + seed)),
    }
    groups |= {f"in {name}": nearest(each, spread) for name, each in parts.items()}
    spaces: dict[str, SearchSpace] = {"whole": space, **parts}
    print(f"front of {len(front)}; part of {part.size:,}: {', '.join(f'{d} {c:.1e}' for d, c in part.drops)}", flush=True)

    def record(way: str, of: SearchSpace, evaluator: SupernetEvaluator, facts: dict[str, float]) -> None:
        for name, members in groups.items():
            if isinstance(of, NarrowedSpace):
                members = of.taken_in(members)[0]
            found = evaluator.evaluate(of.subnets(members), "test")["error"] if len(members) else np.array([np.nan])
            facts |= {name: round(float(found.mean()), 3), f"n_{name}": len(members)}
        with rows.open("a") as file:
            file.write(json.dumps({"way": way, **facts}) + "\n")
        print(seed, way, facts, flush=True)

    known = {json.loads(line)["way"] for line in rows.read_text().splitlines()} if rows.exists() else set()
    if "first" not in known:
        record("first", space, SupernetEvaluator(supernet, task, data), {})
    base = replace(schedule, float_epochs=4, quantized_epochs=2)

    def around_in(of: SearchSpace) -> Around:
        if not isinstance(of, NarrowedSpace):
            return Around(front, rank, latency)
        return Around(of.taken_in(front)[0], lambda g: rank(of.widened(g)), lambda g: latency(of.widened(g)))

    for way in options.ways:
        if way in known:
            continue
        sampler, settings, where = WAYS[way]
        of = spaces[where]
        mine = replace(base, sampler=SamplerSettings(name=sampler, options=settings), experts=EXPERTS.get(way, 0))
        whole = seconds_a_step(space, data, base, around_in(space))
        own = seconds_a_step(of, data, mine, around_in(of)) if way != "whole" else whole
        float_epochs, quantized_epochs = (max(1, round(n * a / b)) for n, a, b in zip((4, 2), whole, own, strict=True))
        mine = replace(mine, float_epochs=float_epochs, quantized_epochs=quantized_epochs)
        net = Supernet(of, experts=mine.experts)
        net.set_input_statistics(*data.input_statistics())
        init_from(net, wide)
        start = time.perf_counter()
        checkpoint = folder / f"{way.replace(' ', '-')}{seed}.ckpt"
        train(net, task, data, mine, seed=seed, checkpoint=checkpoint, identity={}, around=around_in(of))
        minutes = round((time.perf_counter() - start) / 60, 2)
        facts = {"minutes": minutes, "float_epochs": float_epochs, "quantized_epochs": quantized_epochs}
        record(way, of, SupernetEvaluator(net.eval(), task, data), facts)


if __name__ == "__main__":
    main()
