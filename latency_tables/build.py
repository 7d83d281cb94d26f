"""Build a latency table: plan what to time, time it, fit, validate, judge."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from latency_tables.device import Device
from latency_tables.estimate import choose_parts, estimate_parts
from latency_tables.measure import Progress, measure_graphs, seconds_per_model
from latency_tables.pricing import fit, graph_features, iterate_parts, sort_parts
from latency_tables.table import LatencyTable, Report
from latency_tables.timing import Measurement, Protocol, Timings
from search_spaces.errors import InvalidInput
from search_spaces.graph.graph import Graph
from search_spaces.space.baselines import baselines, uniform_genome
from search_spaces.space.space import Genomes, SearchSpace

GREATEST_MAPE = 5.0  # percent
MAPE_CEILING = 10.0  # percent, however badly the truth repeats
LEAST_TAU = 0.9
NOISY = 2.0  # percent: a truth that repeats to more than this exchanges neighbours by its noise
TAU_OF_NOISY = 0.85  # asked of such a truth
TAU_FLOOR = 0.6  # however little the order of the truth repeats
GREATEST_SPLIT_HALF = 12.0  # percent
GREATEST_DRIFT = 2.0  # times the speed at the beginning, or its inverse


@dataclass(frozen=True)
class Plan:
    """What a table of a space is made from.

    Attributes:
        space: The space.
        parts: What is timed besides whole networks, by name; see `pricing.iterate_parts`.
        networks: Whole networks, by name.
        n_fit: So many of the networks, the first ones, are fitted on; the others are for the verdict.
        estimated: Parts that are not timed but estimated from the others.
    """

    space: SearchSpace
    parts: Mapping[str, Graph]
    networks: Mapping[str, Graph]
    n_fit: int
    estimated: tuple[str, ...] = ()

    @property
    def graphs(self) -> dict[str, Graph]:
        """Everything that is timed, by name."""
        return {**self.timed_parts, **self.networks}

    @property
    def timed_parts(self) -> dict[str, Graph]:
        """The parts that are timed, by name."""
        estimated = set(self.estimated)
        return {name: graph for name, graph in self.parts.items() if name not in estimated}

    @property
    def reference(self) -> Graph:
        """The network by which the machine is watched."""
        return reference_graph(self.space)

    def within(self, n_timed: int) -> "Plan":
        """Return a plan that times at most so many graphs and estimates the other blocks.

        Raises:
            InvalidInput: If so few do not do.
        """
        if n_timed >= len(self.parts) + len(self.networks):
            return self
        chosen = choose_parts(self.parts, n_timed - len(self.networks))
        return replace(self, estimated=tuple(name for name in self.parts if name not in chosen))


def plan_table(space: SearchSpace, *, n_fit: int, n_held_out: int, rng: np.random.Generator) -> Plan:
    """Plan the table of a space.

    Args:
        space: With networks behind it.
        n_fit: Whole networks to fit on; the baselines are among them.
        n_held_out: Random whole networks for the verdict.
        rng: Draws the whole networks.

    Raises:
        InvalidInput: If the space has no networks behind it.
    """
    if not space.slots:
        raise InvalidInput(f"space '{space.name}' has choices only and no networks behind it: nothing to measure")
    seeds = np.array(list(baselines(space).values()))[:n_fit]
    genomes = np.concatenate([seeds, space.sample(n_fit - len(seeds) + n_held_out, rng)])
    return Plan(space, dict(iterate_parts(space)), name_networks(space, genomes), n_fit)


def name_networks(space: SearchSpace, genomes: Genomes) -> dict[str, Graph]:
    """Return the networks of genomes as `network 0`, `network 1` and so on."""
    return {f"network {i}": space.graph(space.architecture(genome)) for i, genome in enumerate(genomes)}


def reference_graph(space: SearchSpace) -> Graph:
    """Return the network by which the machine is watched: the middle one."""
    return space.graph(space.architecture(uniform_genome(space, "middle")))


def build_table(
    plan: Plan,
    device: Device,
    protocol: Protocol,
    *,
    journal: Path | None = None,
    greatest_minutes: float | None = None,
    announce: Callable[[int, int, float], None] = lambda n_parts, n_networks, minutes: None,
    progress: Progress = lambda done, total: None,
) -> LatencyTable:
    """Measure a table on the device of this process.

    Args:
        plan: What to time.
        device: Runtime and threads.
        protocol: How each model is timed.
        journal: File in which timings are kept while measuring; an interrupted measurement goes on from it.
        greatest_minutes: Blocks that cannot be timed within so many minutes are estimated.
        announce: Called before anything is timed, with the number of parts and of networks, and about how many minutes.
        progress: Called with timings done and in all.

    Raises:
        InvalidInput: If `greatest_minutes` are too few.
    """
    started = time.perf_counter()
    seconds = seconds_per_model(plan.reference, device, protocol)
    if greatest_minutes is not None:
        plan = plan.within(int(60 * greatest_minutes / seconds))
    announce(len(plan.timed_parts), len(plan.networks), seconds * len(plan.graphs) / 60)
    heading = {"space": plan.space.name, "fingerprint": device.fingerprint(), "seconds": protocol.seconds}
    timings = measure_graphs(plan.graphs, plan.reference, device, protocol, heading, journal=journal, progress=progress)
    minutes = (time.perf_counter() - started) / 60
    return assemble(plan, timings, device.name, device.fingerprint(), minutes)


def assemble(plan: Plan, timings: Timings, device: str, fingerprint: Mapping[str, Any], minutes: float) -> LatencyTable:
    """Fit a table on what was timed, here or elsewhere, and judge it.

    Args:
        plan: What was to be timed.
        timings: Of everything in `plan.graphs`.
        device: Its name.
        fingerprint: See `Device.fingerprint`.
        minutes: How long it took.

    Raises:
        InvalidInput: If all networks took the same time: nothing can be learned of that.
    """
    measured = [timings.measurements[name] for name in plan.networks]
    if len({m.ms for m in measured[plan.n_fit :]}) < 2:
        raise InvalidInput(
            f"all {len(measured) - plan.n_fit} held-out networks took {measured[-1].ms:g} ms: times all alike cannot "
            "be of this space"
        )
    measurements = {name: timings.measurements[name] for name in plan.timed_parts}
    estimated = estimate_parts(plan.parts, {name: m.ms for name, m in measurements.items()})
    parts = sort_parts({**{name: m.ms for name, m in measurements.items()}, **estimated})
    graphs, n_fit = list(plan.networks.values()), plan.n_fit
    coefficients = fit(parts, graphs[:n_fit], np.array([m.ms for m in measured[:n_fit]]))
    predicted = np.array([[1.0, *graph_features(parts, graph)] for graph in graphs[n_fit:]]) @ coefficients
    return LatencyTable(
        device=device,
        fingerprint=fingerprint,
        space=plan.space.name,
        measurements=measurements,
        estimated=estimated,
        reference_ms=timings.reference_ms,
        coefficients=tuple(map(float, coefficients)),
        report=judge(measured[n_fit:], predicted, n_fit=n_fit, timings=timings, minutes=minutes),
    )


def judge(
    measured: list[Measurement],
    predicted: NDArray[np.float64],
    *,
    n_fit: int,
    timings: Timings,
    minutes: float,
) -> Report:
    """Compare predictions with held-out measurements and say whether the table is valid, and why not; see `doubts`."""
    truth = np.array([m.ms for m in measured])
    errors = 100 * np.abs(predicted / truth - 1)
    split_half = 100 * float(np.mean([m.split_half for m in measured]))
    tau = _tau(predicted, truth)
    truth_tau = _tau(*np.array([m.halves for m in measured]).T)
    figures = {"mape": float(errors.mean()), "tau": tau, "split_half": split_half, "truth_tau": truth_tau}
    reasons = doubts(**figures, drift=100 * timings.drift)
    return Report(
        n_fit=n_fit,
        n_held_out=len(measured),
        **figures,
        greatest_error=float(errors.max()),
        disturbed=100 * timings.disturbed,
        drift=100 * timings.drift,
        is_valid=not reasons,
        reasons=reasons,
        held_out=tuple((float(a), float(b)) for a, b in zip(truth, predicted, strict=True)),
        minutes=minutes,
    )


def doubts(*, mape: float, tau: float, split_half: float, truth_tau: float, drift: float) -> tuple[str, ...]:
    """Return why a table with these figures is not valid, a sentence each; none where it is.

    It is judged by its outcome alone: a busy machine makes measuring slow and its truth noisy, but what was timed beside a
    reference holds (measured, experiments/results/latency.md).

    Args:
        mape: Mean error on held-out networks, percent: at most 5, or 2.5 times the split-half error but not above 10.
        tau: Kendall's tau on them: at least 0.9; where the truth repeats to more than 2 %, 0.85 or what its own order
            repeats to, but at least 0.6.
        split_half: To what the truth repeats, percent: at most 12, or nothing is known.
        truth_tau: Kendall's tau between the halves of the truth.
        drift: Change of the reference from the first round to the last, percent: at most to twice or half its time.
    """
    allowed = min(max(GREATEST_MAPE, 2.5 * split_half), MAPE_CEILING)
    least = LEAST_TAU if split_half <= NOISY else max(TAU_FLOOR, min(TAU_OF_NOISY, truth_tau))
    found = []
    if not mape <= allowed:
        found.append(f"mean error {mape:.1f} % on held-out networks is above {allowed:.1f} %")
    if not tau >= least:
        found.append(f"Kendall tau {tau:.3f} on held-out networks is below {least:.3g}")
    if not split_half <= GREATEST_SPLIT_HALF:
        found.append(f"held-out networks repeat to {split_half:.1f} % only, not to {GREATEST_SPLIT_HALF:g} %")
    factor = 1 + drift / 100
    if not 1 / GREATEST_DRIFT <= factor <= GREATEST_DRIFT:
        found.append(f"the machine changed its speed: at the end the reference took {factor:.1f} times as long as before")
    return tuple(found)


def _tau(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return Kendall's tau; 0 where one side is constant and says nothing."""
    return float(np.nan_to_num(kendalltau(a, b).statistic))
