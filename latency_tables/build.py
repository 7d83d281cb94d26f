"""Build a latency table: enumerate the parts, measure them beside whole networks, fit, validate, judge."""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from latency_tables.backends import BACKENDS, Runner
from latency_tables.device import Device
from latency_tables.pricing import fit, graph_features, iterate_parts
from latency_tables.table import LatencyTable, Report, sort_parts
from latency_tables.timing import GREATEST_DISTURBED, Known, Measurement, Protocol, Timings, Watch, time_models
from search_spaces.baselines import baselines, uniform_genome
from search_spaces.errors import InvalidInput
from search_spaces.graph import Graph
from search_spaces.lowering import lower
from search_spaces.space import SearchSpace

GREATEST_MAPE = 5.0  # percent
MAPE_CEILING = 15.0  # percent, however badly the truth repeats
LEAST_TAU = 0.9

Progress = Callable[[int, int], None]


def build_table(
    space: SearchSpace,
    device: Device,
    *,
    n_fit: int,
    n_held_out: int,
    rng: np.random.Generator,
    protocol: Protocol | None = None,
    journal: Path | None = None,
    progress: Progress = lambda done, total: None,
) -> LatencyTable:
    """Measure a table of a space on the device of this process.

    Args:
        space: With networks behind it.
        device: Runtime and threads.
        n_fit: Whole networks to fit on; the baselines are among them.
        n_held_out: Random whole networks for the verdict.
        rng: Draws the whole networks.
        protocol: How each model is timed.
        journal: File in which timings are kept while measuring; an interrupted measurement goes on from it.
        progress: Called with timings done and in all.

    Raises:
        InvalidInput: If the space has no networks behind it.
    """
    if not space.slots:
        raise InvalidInput(f"space '{space.name}' has choices only and no networks behind it: nothing to measure")
    protocol = protocol or Protocol()
    started = time.perf_counter()
    parts = dict(iterate_parts(space))
    seeds = np.array(list(baselines(space).values()))[:n_fit]
    genomes = np.concatenate([seeds, space.sample(n_fit - len(seeds) + n_held_out, rng)])
    networks = {f"network {i}": space.graph(space.architecture(genome)) for i, genome in enumerate(genomes)}
    heading = {"space": space.name, "fingerprint": device.fingerprint(), "seconds": protocol.seconds}
    timings = measure_graphs(
        {**parts, **networks},
        reference_graph(space),
        device,
        protocol,
        heading,
        journal=journal,
        progress=progress,
    )
    measured = [timings.measurements[name] for name in networks]
    measurements = {name: timings.measurements[name] for name in parts}
    sorted_parts = sort_parts(measurements)
    graphs = list(networks.values())
    coefficients = fit(sorted_parts, graphs[:n_fit], np.array([m.ms for m in measured[:n_fit]]))
    predicted = np.array([[1.0, *graph_features(sorted_parts, graph)] for graph in graphs[n_fit:]]) @ coefficients
    minutes = (time.perf_counter() - started) / 60
    report = judge(measured[n_fit:], predicted, n_fit=n_fit, disturbed=timings.disturbed, minutes=minutes)
    return LatencyTable(
        device=device.name,
        fingerprint=device.fingerprint(),
        space=space.name,
        measurements=measurements,
        reference_ms=timings.reference_ms,
        coefficients=tuple(map(float, coefficients)),
        report=report,
    )


def reference_graph(space: SearchSpace) -> Graph:
    """Return the network by which the machine is watched: the middle one."""
    return space.graph(space.architecture(uniform_genome(space, "middle")))


def measure_graphs(
    graphs: Mapping[str, Graph],
    reference: Graph,
    device: Device,
    protocol: Protocol,
    heading: Mapping[str, object],
    *,
    reference_ms: float = float("inf"),
    journal: Path | None = None,
    progress: Progress = lambda done, total: None,
) -> Timings:
    """Time graphs with random weights on a device.

    Args:
        graphs: By name.
        reference: Network to watch the machine by.
        device: Where.
        protocol: How.
        heading: What a journal must agree with to be gone on from.
        reference_ms: Quickest time of the reference known from before.
        journal: File in which timings are kept while measuring.
        progress: Called with timings done and in all.
    """
    backend = BACKENDS.get(device.backend)

    def builder(graph: Graph) -> Callable[[], Runner]:
        return lambda: backend.build(lower(graph), threads=device.threads, options=device.options)

    known = _read_journal(journal, heading) if journal else {}
    known = {key: value for key, value in known.items() if key[0] in graphs and key[1] < protocol.rounds}
    if journal:
        # Written anew, so that what comes next does not stand behind a torn line.
        journal.parent.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(heading), *(json.dumps([*key, *value]) for key, value in known.items())]
        journal.write_text("\n".join(lines) + "\n")

    def keep(found: Known, done: int, total: int) -> None:
        if journal:
            with journal.open("a") as file:
                file.writelines(json.dumps([*key, *value]) + "\n" for key, value in found.items())
        progress(done, total)

    builders = {name: builder(graph) for name, graph in graphs.items()}
    with _cores(device) as cores:
        watch = Watch(builder(reference)(), cores=cores, best_ms=reference_ms)
        return time_models(builders, watch, protocol, known=known, on_timed=keep)


@contextmanager
def _cores(device: Device) -> Iterator[tuple[int, ...]]:
    """Give the cores that a single thread may choose from, and put the process back on all of them afterwards."""
    if device.threads > 1 or not hasattr(os, "sched_setaffinity"):
        yield ()
        return
    allowed = os.sched_getaffinity(0)
    try:
        yield tuple(sorted(allowed))
    finally:
        os.sched_setaffinity(0, allowed)


def judge(
    measured: list[Measurement],
    predicted: NDArray[np.float64],
    *,
    n_fit: int,
    disturbed: float,
    minutes: float,
) -> Report:
    """Compare predictions with held-out measurements and say whether the table is valid, and why not.

    Valid: mean error at most 5 %, or 2.5 times what the truth itself repeats to but not above 15 %; tau at least 0.9; a
    steady machine.
    """
    truth = np.array([m.ms for m in measured])
    errors = 100 * np.abs(predicted / truth - 1)
    split_half = 100 * float(np.mean([m.split_half for m in measured]))
    tau = float(kendalltau(predicted, truth).statistic)
    allowed = min(max(GREATEST_MAPE, 2.5 * split_half), MAPE_CEILING)
    reasons = []
    if errors.mean() > allowed:
        reasons.append(f"mean error {errors.mean():.1f} % on held-out networks is above {allowed:.1f} %")
    if not tau >= LEAST_TAU:
        reasons.append(f"Kendall tau {tau:.3f} on held-out networks is below {LEAST_TAU}")
    if disturbed > GREATEST_DISTURBED:
        reasons.append(f"the machine was never undisturbed for {100 * disturbed:.0f} % of what was timed")
    return Report(
        n_fit=n_fit,
        n_held_out=len(measured),
        mape=float(errors.mean()),
        greatest_error=float(errors.max()),
        tau=tau,
        split_half=split_half,
        disturbed=100 * disturbed,
        is_valid=not reasons,
        reasons=tuple(reasons),
        held_out=tuple((float(a), float(b)) for a, b in zip(truth, predicted, strict=True)),
        minutes=minutes,
    )


def _read_journal(journal: Path, heading: Mapping[str, object]) -> Known:
    """Return the timings of an interrupted measurement; none if it was of something else. A torn last line is left out."""
    known: Known = {}
    if not journal.exists():
        return known
    try:
        first, *lines = journal.read_text(errors="replace").splitlines() or [""]
    except OSError as error:
        raise InvalidInput(f"cannot read the journal '{journal}': {error.strerror}; remove it to measure anew") from error
    if first != json.dumps(heading):
        return known
    for line in lines:
        try:
            name, round_, units, undisturbed = json.loads(line)
            if not 0 < float(units) < float("inf"):
                break
            known[str(name), int(round_)] = (float(units), bool(undisturbed))
        except (ValueError, TypeError):
            break
    return known
