"""Train a supernet on a GPU as on the CPU: the same epoch, images a second, peak memory, and a run that was stopped.

python experiments/benchmarks/gpu.py [--data FOLDER]        # at most four minutes

Without a GPU it says so and ends. Fashion-MNIST lies where Debian's package puts it, or in a folder that is named.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from nas.data import load_dataset
from nas.data.dataset import Dataset
from nas.supernet.supernet import Supernet
from nas.tasks.classification import Classification
from nas.training.schedule import Schedule
from nas.training.trainer import Record, train
from search_spaces import SPACES

SPACE = SPACES.get("mobilenet-28")()
N_COMPARED = 5_000  # images of the epoch that both compute
TOLERANCE = {"loss": 0.02, "error_largest": 1.0}  # relative; percentage points


def trained(
    data: Dataset, schedule: Schedule, device: str, checkpoint: Path, stop_after: int = 0
) -> tuple[Supernet, list[Record]]:
    """Train on a device, or go on; with `stop_after` the training is killed after so many epochs."""
    supernet = Supernet(SPACE, torch.Generator().manual_seed(0)).to(device)
    supernet.set_input_statistics(*data.input_statistics())

    def stop(record: Record) -> None:
        if record["epoch"] > stop_after > 0:
            raise KeyboardInterrupt

    plan = {"seed": 0, "checkpoint": checkpoint, "identity": {}}
    try:
        return supernet, train(supernet, Classification.of(data), data, schedule, **plan, log=stop)
    except KeyboardInterrupt:
        return supernet, []


def first(data: Dataset, n: int) -> Dataset:
    """Return the data set with its first n training images."""
    return replace(data, train={name: array[:n] for name, array in data.train.items()})


def compare(data: Dataset, folder: Path) -> None:
    """Train one float and one quantized epoch on both, and print how far they are apart."""
    schedule = Schedule(float_epochs=1, quantized_epochs=1, warmup_epochs=1, batch_size=64, compile=False)
    found = {}
    for device in ("cpu", "cuda"):
        torch.set_num_threads(8)
        started = time.perf_counter()
        supernet, records = trained(first(data, N_COMPARED), schedule, device, folder / device)
        found[device] = records, {name: p.detach().cpu() for name, p in supernet.named_parameters()}
        print(f"{device}: {time.perf_counter() - started:.1f} s, {records}", flush=True)
    (cpu, mine), (cuda, theirs) = found.values()
    for epoch, (a, b) in enumerate(zip(cpu, cuda, strict=True), start=1):
        loss = abs(b["loss"] / a["loss"] - 1)
        error = abs(b["error_largest"] - a["error_largest"])
        holds = loss <= TOLERANCE["loss"] and error <= TOLERANCE["error_largest"]
        verdict = "holds" if holds else "FAILS"
        print(f"epoch {epoch}: loss differs by {100 * loss:.2f} %, error by {error:.2f} points: {verdict}")
    norms = [float((theirs[name] - p).norm() / p.norm().clamp(min=1e-9)) for name, p in mine.items() if p.ndim > 1]
    print(f"weights differ by {100 * np.median(norms):.2f} % of their norm in the median, {100 * max(norms):.2f} % at most")


def speed(data: Dataset, folder: Path, batch_size: int) -> None:
    """Print images a second and peak memory of a float and a quantized epoch."""
    torch.cuda.reset_peak_memory_stats()
    schedule = Schedule(float_epochs=2, quantized_epochs=1, warmup_epochs=1, batch_size=batch_size, compile=False)
    _, records = trained(data, schedule, "cuda", folder / f"speed-{batch_size}")
    rates = ", ".join(f"{record['samples_per_second']:.0f}" for record in records)
    memory = torch.cuda.max_memory_allocated() / 2**20
    print(f"batch {batch_size}: {rates} images/s (float, float, quantized), peak memory {memory:.0f} MiB", flush=True)


def resumed(data: Dataset, folder: Path) -> None:
    """Train three epochs in one go and stopped after the second; print how far the weights are apart."""
    schedule = Schedule(float_epochs=2, quantized_epochs=1, warmup_epochs=1, batch_size=64, compile=False)
    small = first(data, N_COMPARED)
    whole, _ = trained(small, schedule, "cuda", folder / "whole")
    again, _ = trained(small, schedule, "cuda", folder / "whole-again")
    trained(small, schedule, "cuda", folder / "halved", stop_after=1)
    halved, records = trained(small, schedule, "cuda", folder / "halved")
    print(
        f"resumed with {len(records)} records; relative difference of the weights from one go: {distance(whole, halved):.2e}"
    )
    print(f"two trainings in one go differ by {distance(whole, again):.2e}", flush=True)


def distance(one: Supernet, other: Supernet) -> float:
    """Return the greatest relative difference of a weight's norm."""
    theirs = dict(other.named_parameters())
    pairs = [(p.detach(), theirs[name].detach()) for name, p in one.named_parameters() if p.ndim > 1]
    return max(float((b - a).norm() / a.norm().clamp(min=1e-9)) for a, b in pairs)


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="folder with the four idx files of Fashion-MNIST")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("there is no GPU: nothing to compare")
        return
    data = load_dataset("fashion_mnist", path=options.data, n_val=10_000)
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        compare(data, folder)
        speed(first(data, 10_000), folder, 64)
        speed(first(data, 20_000), folder, 512)
        resumed(data, folder)


if __name__ == "__main__":
    main()
