"""How fast a supernet trains: sandwich against plain steps, quantized against float, calibration, memory. All in one run.

python experiments/benchmarks/training.py --threads 2
"""

import argparse
import resource
import time
from collections.abc import Callable

import numpy as np
import torch

from nas.data.load import load_dataset
from nas.objectives.supernet_evaluator import SupernetEvaluator
from nas.quantizers.compiled import compiled_quantizer
from nas.quantizers.integers import ChooseScale, FakeQuantize, choose_scale, fake_quantize
from nas.supernet.supernet import Supernet
from nas.tasks.classification import Classification
from nas.training.samplers import Moment, draw_graphs
from nas.training.samplers.sandwich import SandwichSampler
from nas.training.schedule import Schedule
from nas.training.step import training_step
from search_spaces import SPACES
from search_spaces.graph.graph import Graph
from search_spaces.space.baselines import uniform_genome

BATCH = 128


def seconds(rounds: int, *actions: Callable[[], object]) -> list[float]:
    """Return the median time of each action; they take turns, so that a slow minute slows all of them."""
    times: list[list[float]] = [[] for _ in actions]
    for _ in range(rounds):
        for action, taken in zip(actions, times, strict=True):
            start = time.perf_counter()
            action()
            taken.append(time.perf_counter() - start)
    return [float(np.median(taken)) for taken in times]


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    schedule = Schedule(progressive_bits=False)
    space = SPACES.get("mobilenet-28")()
    supernet = Supernet(space)
    optimizer = torch.optim.SGD(supernet.parameters(), lr=1e-3, momentum=0.9, nesterov=True)
    images, labels = torch.rand(BATCH, 1, 28, 28), torch.randint(10, (BATCH,))
    task, batch = Classification(shape=(1, 28, 28), n_classes=10), {"images": images, "labels": labels}
    rng = np.random.default_rng(0)
    rows = []

    graphs = draw_graphs(SandwichSampler(), Moment(space, schedule, 0.0), rng)

    def sandwich() -> None:
        training_step(supernet, optimizer, task, batch, graphs, schedule)

    def plain() -> None:
        for graph in graphs:
            optimizer.zero_grad(set_to_none=True)
            torch.nn.functional.cross_entropy(supernet(images, graph), labels).backward()
            optimizer.step()

    seconds(3, sandwich, plain)
    together, apart = seconds(options.rounds, sandwich, plain)
    rows.append((f"sandwich of {len(graphs)} against {len(graphs)} plain steps", together, apart, "1.15"))

    def step(graph: Graph, quantizer: tuple[FakeQuantize, ChooseScale]) -> Callable[[], None]:
        def act() -> None:
            supernet.fake_quantize, supernet.choose_scale = quantizer
            training_step(supernet, optimizer, task, batch, [graph], schedule)

        return act

    kinds = {"compiled": compiled_quantizer(), "eager": (fake_quantize, choose_scale)}
    for level in ("largest", "middle"):
        genomes = {name: uniform_genome(space, level, name) for name in ("float32", "w8a8", "w4a4")}
        of_format = {name: space.subnet(genome).graph for name, genome in genomes.items()}
        actions = {"float32": step(of_format["float32"], kinds["eager"])}
        for kind, quantizer in kinds.items():
            actions |= {f"{name}, {kind} quantizer": step(of_format[name], quantizer) for name in ("w8a8", "w4a4")}
        seconds(3, *actions.values())
        times = dict(zip(actions, seconds(options.rounds, *actions.values()), strict=True))
        in_float = times.pop("float32")
        rows += [
            (f"{level} {name} against float32", taken, in_float, "1.3" if "compiled" in name else "")
            for name, taken in times.items()
        ]

    print(f"mobilenet-28, batch {BATCH}, {options.threads} threads; median of {options.rounds} rounds in turns\n")
    print("| what | s | against, s | ratio | asked |\n|---|---|---|---|---|")
    for what, first, second, asked in rows:
        print(f"| {what} | {first:.3f} | {second:.3f} | {first / second:.2f} | {asked} |")

    digits = load_dataset("digits", n_val=360)
    small = SPACES.get("mobilenet-digits")()
    evaluator = SupernetEvaluator(Supernet(small), Classification.of(digits), digits)
    chosen = [uniform_genome(small, level, name) for level in ("largest", "smallest") for name in ("float32", "w4a4")]
    evaluator.measure(np.array(chosen))
    print("\nCalibrate and validate one subnet on digits:", end=" ")
    print(", ".join(f"{s:.2f} s" for s in seconds(5, *[lambda g=g: evaluator.measure(g[None]) for g in chosen])))
    print(f"Peak memory of all of this: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
