"""What others make of an adopted model, beside its front: same samples, same divergence, timed in turn in one session.

    python experiments/benchmarks/adopted_peers.py runs/efficientnet-lite0 --models nncf=nncf.onnx

onnxruntime's static quantization (QDQ, a scale for each channel, after its own pre-processing) with each of its
calibrators, and any files that other tools made of `original.onnx` in environments of their own, such as those of
`adopted_tools.py`. Prints divergence and latency of each, and which of them no member of the front matches in both by more
than the spread.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

import nas
from latency_tables.runtimes import RUNTIMES
from latency_tables.timing.interference import monitoring
from latency_tables.timing.protocol import Protocol, time_models
from nas.ptq.execution import feeds_of, outputs_of
from nas.run.adoption import Adoption
from nas.tasks.divergence import divergences, joined
from search_spaces.lowering import lower

METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}


class Reader(CalibrationDataReader):
    """Gives samples one after the other."""

    def __init__(self, run: Adoption, n: int) -> None:
        few = {name: array[:n] for name, array in run.samples.calibrate.items()}
        self.feeds = feeds_of(run.evaluator.inputs, few)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next sample, None behind the last."""
        return next(self.feeds, None)


def by_onnxruntime(run: Adoption, n: int, methods: list[str]) -> dict[str, bytes]:
    """Return what onnxruntime's own tool makes of the original, by calibrator and type of activations."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        folded, prepared = Path(folder) / "folded.onnx", Path(folder) / "prepared.onnx"
        # As it was read in float32: torch's unoptimized export hides batch norms from it.
        folded.write_bytes(lower(run.adopted.in_format("float32"), run.adopted.imported.weights).SerializeToString())
        quant_pre_process(str(folded), str(prepared), skip_symbolic_shape=True)
        for name, method in ((name, METHODS[name]) for name in methods):
            for kind, activations in (("u8", QuantType.QUInt8), ("s8", QuantType.QInt8)):
                file = Path(folder) / f"{name}.onnx"
                try:
                    quantize_static(
                        str(prepared),
                        str(file),
                        Reader(run, n),
                        quant_format=QuantFormat.QDQ,
                        per_channel=True,
                        activation_type=activations,
                        weight_type=QuantType.QInt8,
                        calibrate_method=method,
                    )
                except Exception as error:  # whatever it raises is told
                    print(f"onnxruntime {name} {kind}: {type(error).__name__}: {str(error)[:200]}")
                    continue
                found[f"onnxruntime {name} {kind}"] = file.read_bytes()
    return found


def main() -> None:
    """Make, judge and time them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="run folder of `hwnas adopt`")
    parser.add_argument("--models", nargs="*", default=[], metavar="NAME=FILE", help="of other tools")
    parser.add_argument("--samples", type=int, default=64, help="to calibrate on")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS), help="of onnxruntime")
    parser.add_argument("--members", type=int, default=20, help="of the front that are timed beside them")
    options = parser.parse_args()
    run = nas.open_run(options.run)
    assert isinstance(run, Adoption)
    models = by_onnxruntime(run, options.samples, options.methods)
    models |= {name: Path(file).read_bytes() for name, _, file in (text.partition("=") for text in options.models)}
    front = run.front().sort_values("latency_ms")
    chosen = front.iloc[np.unique(np.linspace(0, len(front) - 1, options.members).round().astype(int))]
    ours = {f"hwnas {name}": run.evaluator.model(run.subnet(name).graph).SerializeToString() for name in chosen["id"]}
    models = {"original": run.original.read_bytes(), **models, **ours}
    loss = {name: judged(run, model) for name, model in models.items()}
    runtime = RUNTIMES.get("onnxruntime")
    builders = {
        name: (lambda model=model: runtime.build(fixed(run, model), threads=1, options={})) for name, model in models.items()
    }
    with monitoring(builders["original"](), threads=1, process=0) as monitor:
        times = time_models(builders, monitor, Protocol(rounds=10, seconds=0.05)).measurements
    print("| model | ms | spread | divergence |\n| --- | --- | --- | --- |")
    for name in models:
        print(f"| {name} | {times[name].ms:.3f} | {100 * times[name].spread:.1f} % | {loss[name]:.5f} |")
    for name in models:
        if name.startswith("hwnas") or name == "original":
            continue
        spread = times[name].spread
        rivals = [other for other in ours if times[other].ms <= times[name].ms * (1 + spread) and loss[other] <= loss[name]]
        best = min(rivals, key=lambda other: loss[other], default="")
        print(
            f"{name}: " + (f"no better than {best}, {loss[best]:.5f} in {times[best].ms:.3f} ms" if best else "NOT MATCHED")
        )


def judged(run: Adoption, model: bytes) -> float:
    """Return the divergence of a file from the original on the validation samples."""
    evaluator = run.evaluator
    outputs = outputs_of(fixed(run, model), evaluator.inputs, evaluator.samples.val)
    by_output = divergences(evaluator.kinds, outputs, evaluator.references["val"])
    return float(joined(by_output, evaluator.weights, evaluator.steer).mean())


def fixed(run: Adoption, model: bytes) -> bytes:
    """Return a file whose inputs have the shapes at which the model was adopted."""
    proto = onnx.load_model_from_string(model)
    shapes = {t.name: [1, *t.shape] if t.batched else list(t.shape) for t in run.evaluator.inputs}
    for tensor in proto.graph.input:
        for axis, length in zip(tensor.type.tensor_type.shape.dim, shapes.get(tensor.name, []), strict=False):
            axis.dim_value = length
    return bytes(proto.SerializeToString())


if __name__ == "__main__":
    main()
