"""Main program of a benchmark bundle: `python bundle.zip` on the remote device. Needs NumPy and onnxruntime alone."""

import argparse
import json
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
    with zipfile.ZipFile(bundle) as archive:
        spec = json.loads(archive.read("spec.json"))
        journals = [out.with_suffix(f".{plan['phase']}.journal" if plan["phase"] else ".journal") for plan in spec["plans"]]
        results = [measure(archive, spec, plan, journal) for plan, journal in zip(spec["plans"], journals, strict=True)]
    heading = {"format": RESULT_FORMAT, "version": RESULT_VERSION}
    out.write_text(json.dumps(heading | (results[0] if len(results) == 1 else {"results": results})))
    for journal in journals:
        journal.unlink(missing_ok=True)
    print(f"\n{out}: bring it back with `hwnas measure --from {out.name}` beside what the bundle was made with")


def measure(archive: zipfile.ZipFile, spec: dict[str, Any], plan: dict[str, Any], journal_file: Path) -> dict[str, Any]:
    """Return what one plan of a bundle takes on this device.

    Args:
        archive: The bundle.
        spec: What it says of itself.
        plan: One of its plans.
        journal_file: Keeps what is timed until all is.
    """
    started = time.perf_counter()
    device, protocol = Device(**spec["device"]), Protocol(**spec["protocol"])
    backend, fingerprint = RUNTIMES.get(device.backend), device.fingerprint()

    def builder(name: str, threads: int) -> Callable[[], Runner]:
        file = f"{plan['models']}/{name}.onnx"
        return lambda: backend.build(archive.read(file), threads=threads, options=device.options)

    builders = {name: builder(str(i), device.threads) for i, name in enumerate(plan["names"])}
    journal = Journal(journal_file, {"plan": plan["plan"], "fingerprint": fingerprint, "seconds": protocol.seconds})
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

    of_phase = f" of {plan['phase']}" if plan["phase"] else ""
    print(f"{len(builders)} models{of_phase}, {protocol.rounds} rounds on {device.name}")
    reference = builder("reference", 1)()  # threads of its own would spin beside a model's
    with monitoring(reference, threads=device.threads, process=backend.process) as monitor:
        timings = time_models(builders, monitor, protocol, known=known, on_timed=keep)
    return {
        "unit": "ms",
        "plan": plan["plan"],
        "device": device.name,
        "fingerprint": fingerprint,
        "reference_ms": timings.reference_ms,
        "disturbed": timings.disturbed,
        "drift": timings.drift,
        "minutes": (time.perf_counter() - started) / 60,
        "measurements": {name: [list(m.rounds), list(m.is_clean)] for name, m in timings.measurements.items()},
    }


if __name__ == "__main__":
    sys.exit(main())
