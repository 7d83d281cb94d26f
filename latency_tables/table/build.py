"""Build a latency table: time its plan, fit, validate."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from latency_tables.device import Device
from latency_tables.table.estimate import estimate_parts
from latency_tables.table.latency_model import CALL, fit, network_features, sort_parts
from latency_tables.table.measure import Progress, measure_graphs, seconds_per_model
from latency_tables.table.plan import Plan
from latency_tables.table.table import LatencyTable
from latency_tables.table.validate import validate
from latency_tables.timing.protocol import Protocol, Timings
from search_spaces.errors import MeasurementError


def build_table(
    plan: Plan,
    device: Device,
    protocol: Protocol,
    *,
    name: str = "",
    journal: Path | None = None,
    time_budget_minutes: float | None = None,
    announce: Callable[[int, int, float], None] = lambda n_parts, n_networks, minutes: None,
    progress: Progress = lambda done, total: None,
) -> LatencyTable:
    """Measure a table on the device of this process.

    Args:
        plan: What to time.
        device: Runtime and threads.
        protocol: How each model is timed.
        name: Of the table; empty: as the device.
        journal: File in which timings are kept while measuring; an interrupted measurement goes on from it.
        time_budget_minutes: Blocks that cannot be timed within so many minutes are estimated.
        announce: Called before anything is timed, with the number of parts and of networks, and about how many minutes.
        progress: Called with timings done and in all.

    Raises:
        InvalidInputError: If `time_budget_minutes` are too few.
    """
    started = time.perf_counter()
    seconds = seconds_per_model(plan.reference, device, protocol)
    if time_budget_minutes is not None:
        plan = plan.within(int(60 * time_budget_minutes / seconds))
    announce(len(plan.timed_parts), len(plan.networks), seconds * len(plan.graphs) / 60)
    copies = {"copies": dict(plan.copies)} if plan.copies else {}
    heading = {"space": plan.space.name, "fingerprint": device.fingerprint(), "seconds": protocol.seconds, **copies}
    timings = measure_graphs(plan.graphs, plan.reference, device, protocol, heading, journal=journal, progress=progress)
    minutes = (time.perf_counter() - started) / 60
    return assemble(plan, timings, name or device.name, device.fingerprint(), minutes)


def assemble(plan: Plan, timings: Timings, device: str, fingerprint: Mapping[str, Any], minutes: float) -> LatencyTable:
    """Fit a table on what was timed, here or on a remote device, and judge it.

    Args:
        plan: What was to be timed.
        timings: Of everything in `plan.graphs`.
        device: Its name.
        fingerprint: See `Device.fingerprint`.
        minutes: How long it took.

    Raises:
        MeasurementError: If all networks took the same time: nothing can be learned of that.
    """
    measured = [timings.measurements[name] for name in plan.networks]
    if len({m.ms for m in measured[plan.n_fit :]}) < 2:
        raise MeasurementError(
            f"all {len(measured) - plan.n_fit} held-out networks took {measured[-1].ms:g} ms: times all alike cannot "
            "be of this space"
        )
    call = timings.measurements[CALL].ms
    measurements = {name: timings.measurements[name].of_one(plan.copies.get(name, 1), call) for name in plan.timed_parts}
    estimated = estimate_parts(plan.parts, {name: m.ms for name, m in measurements.items()})
    parts = sort_parts({**{name: m.ms for name, m in measurements.items()}, **estimated})
    networks, n_fit = [subnet.assembly for subnet in plan.networks.values()], plan.n_fit
    coefficients = fit(parts, networks[:n_fit], np.array([m.ms for m in measured[:n_fit]]))
    predicted = np.array([[1.0, *network_features(parts, network)] for network in networks[n_fit:]]) @ coefficients
    return LatencyTable(
        device=device,
        fingerprint=fingerprint,
        space=plan.space.name,
        space_digest=plan.space.digest,
        measurements=measurements,
        estimated=estimated,
        reference_ms=timings.reference_ms,
        coefficients=tuple(map(float, coefficients)),
        report=validate(measured[n_fit:], predicted, n_fit=n_fit, timings=timings, minutes=minutes),
    )
