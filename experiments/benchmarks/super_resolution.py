"""What a run of super-resolution has found, against bicubic and uniform formats; what int8 brings at picture size.

    python experiments/benchmarks/super_resolution.py runs/sr --data FOLDER --part bicubic front widths quantizers

`bicubic`: PSNR of bicubic enlargement on the test pictures. `front`: the run's figures. `widths`: time of a residual block's
convolutions by width, float32 and w8a8 side by side. `quantizers`: time of two quantizers of one tensor against one shared.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

import nas
from latency_tables.device import Device
from latency_tables.table.measure import measure_graphs
from latency_tables.timing.protocol import Protocol
from nas.data import load_dataset
from nas.data.pictures import resized
from nas.tasks.super_resolution import SuperResolution
from search_spaces import SPACES
from search_spaces.families.builder import BlockBuilder
from search_spaces.graph.graph import Graph
from search_spaces.graph.tensor import TensorSpec
from search_spaces.operators.elementwise import Relu
from search_spaces.precision.formats import FLOAT32
from search_spaces.precision.placement import place_quantizers
from search_spaces.precision.scheme import QuantScheme
from search_spaces.space.baselines import uniform_genome

WIDTHS = (8, 16, 24, 32, 48, 64)


def bicubic(folder: Path) -> None:
    """Print the PSNR of bicubic enlargement."""
    data = load_dataset("pictures", path=str(folder), n_val=16, targets="pictures", options={"luminance": True, "patch": 30})
    task, found = SuperResolution.of(data), []
    for batch in data.batches("test", 1):
        small = batch["images"][0].astype(np.uint8)
        large = resized(small, tuple(task.scale * length for length in small.shape[1:]))
        found.append(task.scores(large[None].astype(np.float32), batch))
    for metric in task.metrics:
        print(f"bicubic {metric.title}: {np.mean([scores[metric.name] for scores in found]):.4f}")


def front(run: Path) -> None:
    """Print the front beside uniform formats: the fastest member at least as good as each."""
    opened = nas.open_run(run)
    table = opened.front()
    print(f"{len(table)} members; best test PSNR {table['psnr_db_test'].max():.3f}")
    print(table[["id", "psnr_db_val", "psnr_db_test", "ssim_test", "latency_ms", "size_bytes"]].to_string(index=False))
    baselines = pd.read_csv(run / "baselines.csv")
    for _, row in baselines.iterrows():
        good = table[table["psnr_db_val"] >= row["psnr_db_val"]]
        faster = f"{row['latency_ms'] / good['latency_ms'].min():.2f}x" if len(good) else "none as good"
        print(f"| {row['baseline']} | {row['psnr_db_test']:.2f} | {row['latency_ms']:.2f} | {faster} |")


def timed(graphs: dict[str, Graph]) -> dict[str, float]:
    """Return milliseconds by name, one thread, interleaved."""
    space = SPACES.get("edsr")()
    reference = space.subnet(uniform_genome(space, "smallest")).graph
    found = measure_graphs(graphs, reference, Device(), Protocol(rounds=5), {}).measurements
    return {name: each.ms for name, each in found.items()}


def widths() -> None:
    """Print how much faster a residual block of 3x3 convolutions is in w8a8 than in float32, by width."""
    graphs = {}
    for width in WIDTHS:
        for name in ("float32", "w8a8"):
            builder = BlockBuilder("b", QuantScheme.from_name(name), (width, 128, 128))
            x = builder.conv("conv1", builder.input, width, kernel=3, batch_norm=False)
            builder.conv("conv2", builder.apply(Relu, "relu", x), width, kernel=3, batch_norm=False)
            graphs[f"{width} {name}"] = Graph(place_quantizers(builder.nodes, [FLOAT32]))
    ms = timed(graphs)
    for width in WIDTHS:
        floats, integers = ms[f"{width} float32"], ms[f"{width} w8a8"]
        print(f"| {width} | {floats:.2f} | {integers:.2f} | {floats / integers:.2f} |")


def quantizers() -> None:
    """Print what it costs that two integer blocks convert one tensor of a float32 block each for itself."""
    outputs = TensorSpec("logits", (11, 128, 128))
    space = SPACES.get("unet")(input_shape=(1, 128, 128), outputs=outputs, formats=("float32", "w8a8"))
    genome = uniform_genome(space, "largest", "w8a8")
    for choice, gene in space.gene.items():
        if choice.startswith("down1/") and choice.endswith("format"):
            genome[gene] = 0
    graph = space.subnet(genome).graph
    mine, other = "up1/input2/quantize", "down2/block1/input/quantize"
    assert graph[mine].inputs == graph[other].inputs
    kept = [node for node in graph.nodes if node.name != mine]
    shared = [replace(node, inputs=tuple(other if name == mine else name for name in node.inputs)) for node in kept]
    ms = timed({"each its own": graph, "one shared": Graph(tuple(shared))})
    print(f"{graph[mine].shape}: {ms}, {100 * (ms['each its own'] / ms['one shared'] - 1):.2f} % more")


def main() -> None:
    """Print the parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--part", nargs="+", default=["front"])
    options = parser.parse_args()
    if "bicubic" in options.part:
        bicubic(options.data)
    if "front" in options.part:
        front(options.run)
    if "widths" in options.part:
        widths()
    if "quantizers" in options.part:
        quantizers()


if __name__ == "__main__":
    main()
