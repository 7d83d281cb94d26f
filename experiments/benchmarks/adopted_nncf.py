"""What NNCF makes of an adopted model, in an environment of its own: `pip install nncf onnx onnxruntime`.

    python experiments/benchmarks/adopted_nncf.py runs/efficientnet-lite0 nncf.onnx
    python experiments/benchmarks/adopted_nncf.py runs/efficientnet-lite0 nncf-control.onnx --max-drop 0.004

Without `--max-drop` its plain post-training quantization, with fast bias correction; with it
`quantize_with_accuracy_control`, whose
metric is one minus the Kullback-Leibler divergence from the original. Needs NumPy, onnx and onnxruntime besides;
nothing of hwnas.
"""

import argparse
from pathlib import Path

import nncf
import numpy as np
import onnx
import onnxruntime


def main() -> None:
    """Quantize and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run folder of `hwnas adopt`")
    parser.add_argument("to", type=Path, help="file to write")
    parser.add_argument("--max-drop", type=float, default=0.0)
    parser.add_argument("--samples", type=int, default=64)
    options = parser.parse_args()
    model = onnx.load(options.run / "original.onnx")
    with np.load(options.run / "samples.npz") as file:
        calibrate, val = (
            {k.split("|")[1]: file[k] for k in file.files if k.startswith(f"{part}|")} for part in ("calibrate", "val")
        )
    name = model.graph.input[0].name
    feeds = [{name: one[None]} for one in calibrate[name][: options.samples]]
    tests = [{name: one[None]} for one in val[name]]
    if not options.max_drop:
        quantized = nncf.quantize(model, nncf.Dataset(feeds), preset=nncf.QuantizationPreset.MIXED)
    else:
        reference = [answer(session_of(model), feed) for feed in tests]

        def validate(candidate: onnx.ModelProto, data: object) -> tuple[float, None]:
            session = session_of(candidate)
            found = [answer(session, feed) for feed in data]
            losses = [float((np.exp(p) * (p - q)).sum()) for p, q in zip(reference, found, strict=True)]
            return 1 - float(np.mean(losses)), None

        quantized = nncf.quantize_with_accuracy_control(
            model,
            calibration_dataset=nncf.Dataset(feeds),
            validation_dataset=nncf.Dataset(tests),
            validation_fn=validate,
            max_drop=options.max_drop,
        )
    onnx.save(quantized, options.to)


def session_of(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """Return a session of one thread."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])


def answer(session: onnxruntime.InferenceSession, feed: dict[str, np.ndarray]) -> np.ndarray:
    """Return logarithms of probabilities of one sample."""
    (logits,) = session.run(None, feed)[:1]
    shifted = logits[0].astype(np.float64) - logits.max()
    return shifted - np.log(np.exp(shifted).sum())


if __name__ == "__main__":
    main()
