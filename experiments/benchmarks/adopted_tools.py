"""What other tools make of an adopted model, each in an environment of its own, with nothing of hwnas.

    pip install nncf onnx onnxruntime               # for NNCF
    pip install amd-quark onnxruntime torch         # for AMD Quark
    python experiments/benchmarks/adopted_tools.py nncf runs/efficientnet-lite0 nncf.onnx
    python experiments/benchmarks/adopted_tools.py nncf-control runs/efficientnet-lite0 control.onnx --max-drop 0.004
    python experiments/benchmarks/adopted_tools.py quark runs/efficientnet-lite0 quark.onnx --config U8S8_AAWS_ADAQUANT

`nncf` is its post-training quantization with fast bias correction, `nncf-control` `quantize_with_accuracy_control` by the
Kullback-Leibler divergence from the original; of Quark one of its configurations is told by name. `adopted_peers.py` judges
and times what they write.
"""

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

Feeds = list[dict[str, np.ndarray]]
Judged = tuple[float, list[float]]


def main() -> None:
    """Quantize and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tool", choices=list(TOOLS))
    parser.add_argument("run", type=Path, help="run folder of `hwnas adopt`")
    parser.add_argument("to", type=Path, help="file to write")
    parser.add_argument(
        "--model", type=Path, help="file to quantize, such as the float32 member that was exported (original)"
    )
    parser.add_argument("--max-drop", type=float, default=0.004, help="of nncf-control")
    parser.add_argument("--config", default="U8S8_AAWS", help="of quark")
    parser.add_argument("--samples", type=int, default=64)
    options = parser.parse_args()
    options.model = options.model or options.run / "original.onnx"
    with np.load(options.run / "samples.npz") as file:
        calibrate, val = (
            {k.split("|")[1]: file[k] for k in file.files if k.startswith(f"{part}|")} for part in ("calibrate", "val")
        )
    (name,) = calibrate
    feeds = [{name: one[None]} for one in calibrate[name][: options.samples]]
    TOOLS[options.tool](options, feeds, [{name: one[None]} for one in val[name]])


def nncf(options: argparse.Namespace, feeds: Feeds, tests: Feeds) -> None:
    """Write what NNCF makes of it."""
    import nncf

    model = onnx.load(options.model)
    if options.tool == "nncf":
        quantized = nncf.quantize(model, nncf.Dataset(feeds), preset=nncf.QuantizationPreset.MIXED)
    else:
        session = session_of(model)
        references = [(feed, answer(session, feed)) for feed in tests]  # it asks for single samples, too

        def validate(candidate: onnx.ModelProto, data: Iterable[tuple[dict[str, np.ndarray], np.ndarray]]) -> Judged:
            session = session_of(candidate)
            kept = [1 - float((np.exp(p) * (p - answer(session, feed))).sum()) for feed, p in data]
            return float(np.mean(kept)), kept

        quantized = nncf.quantize_with_accuracy_control(
            model,
            calibration_dataset=nncf.Dataset(feeds),
            validation_dataset=nncf.Dataset(references),
            validation_fn=validate,
            max_drop=options.max_drop,
        )
    onnx.save(quantized, options.to)


def quark(options: argparse.Namespace, feeds: Feeds, tests: Feeds) -> None:  # noqa: ARG001 - it validates nothing
    """Write what Quark makes of it."""
    from onnxruntime.quantization import CalibrationDataReader
    from quark.onnx import ModelQuantizer
    from quark.onnx.quantization.config import Config, get_default_config

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rewind()

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.left, None)

        def rewind(self) -> None:
            self.left = iter(feeds)

    config = Config(global_quant_config=get_default_config(options.config))
    ModelQuantizer(config).quantize_model(str(options.model), str(options.to), Reader())


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


TOOLS: dict[str, Callable[[argparse.Namespace, Feeds, Feeds], None]] = {"nncf": nncf, "nncf-control": nncf, "quark": quark}

if __name__ == "__main__":
    main()
