"""Main program of a benchmark bundle: `python bundle.zip` on the remote device. Needs NumPy and onnxruntime alone."""

import argparse
import json
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from latency_tables.device import Device
from latency_tables.runtimes import RUNTIMES, Runner
from latency_tables.timing.interference import monitoring
from latency_tables.timing.journal import Journal
from latency_tables.timing.protocol import KnownTimings, Protocol, time_models
from search_spaces.errors import HwnasError

RESULT_FORMAT = "hwnas kit result"
RESULT_VERSION = 1
SECONDS_A_LINE = 20.0  # where the output is no terminal


def main() -> int:
    """Time every model of the bundle and write the result; goes on where it was stopped."""
    parser = argparse.ArgumentParser(prog="python bundle.zip", description="Times the networks in this file on this device.")
    parser.add_argument("--out", default="result.json", help="file to write (default result.json)")
    options = parser.parse_args()
    try:
        run(Path(sys.argv[0]), Path(options.out))
    except HwnasError as error:
        print(f"bundle: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nbundle: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def run(bundle: Path, out: Path) -> None:
    """Time every model of a benchmark bundle.

    Args:
        bundle: The zip file.
        out: File to write.
    """
    started = time.perf_counter()
    with zipfile.ZipFile(bundle) as archive:
        spec = json.loads(archive.read("spec.json"))
        device, protocol = Device(**spec["device"]), Protocol(**spec["protocol"])
        backend = RUNTIMES.get(device.backend)
        fingerprint = device.fingerprint()

        def builder(file: str, threads: int) -> Callable[[], Runner]:
            return lambda: backend.build(archive.read(file), threads=threads, options=device.options)

        builders = {name: builder(f"models/{i}.onnx", device.threads) for i, name in enumerate(spec["names"])}
        heading = {"plan": spec["plan"], "fingerprint": fingerprint, "seconds": protocol.seconds}
        journal = Journal(out.with_suffix(".journal"), heading)
        known = {key: value for key, value in journal.known.items() if key[1] < protocol.rounds}

        said = started

        def keep(found: KnownTimings, done: int, total: int) -> None:
            nonlocal said
            journal.add(found)
            now, seen = time.perf_counter(), sys.stdout.isatty()
            left = (now - started) / max(done - len(known), 1) * (total - done) / 60
            if seen or done == total or now - said >= SECONDS_A_LINE:
                said = now
                text = f"{done} of {total} timings, {left:.1f} minutes left"
                print(f"\r{text}   " if seen else text, end="" if seen else "\n", flush=True)

        print(f"{len(builders)} models, {protocol.rounds} rounds on {device.name}")
        reference = builder("models/reference.onnx", 1)()  # threads of its own would spin beside a model's
        with monitoring(reference, threads=device.threads, process=backend.process) as monitor:
            timings = time_models(builders, monitor, protocol, known=known, on_timed=keep)
    result = {
        "format": RESULT_FORMAT,
        "version": RESULT_VERSION,
        "unit": "ms",
        "plan": spec["plan"],
        "device": device.name,
        "fingerprint": fingerprint,
        "reference_ms": timings.reference_ms,
        "disturbed": timings.disturbed,
        "drift": timings.drift,
        "minutes": (time.perf_counter() - started) / 60,
        "measurements": {name: [list(m.rounds), list(m.is_clean)] for name, m in timings.measurements.items()},
    }
    out.write_text(json.dumps(result))
    journal.remove()
    print(f"\n{out}: bring it back with `hwnas measure --from {out.name}` beside what the bundle was made with")


if __name__ == "__main__":
    sys.exit(main())
