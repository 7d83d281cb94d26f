"""LatencyTable: measured times of a space's parts on a device, and what whole networks will take there."""

import csv
import hashlib
import io
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from latency_tables.table.latency_model import (
    N_FEATURES,
    Parts,
    block_features,
    consumer_key,
    producer_key,
    sort_parts,
    transition_features,
)
from latency_tables.timing.measurement import Measurement
from search_spaces.costs import FactorTable
from search_spaces.errors import DamagedFileError, HwnasError, InvalidInputError
from search_spaces.space.factor import combine
from search_spaces.space.space import Genomes, SearchSpace

FORMAT_VERSION = 2
CLEAR = 2.0  # times what the truth repeats to: networks that are further apart can be told from one another


@dataclass(frozen=True, kw_only=True)
class Report:
    """Validation of a table on networks that it was not fitted on.

    Attributes:
        n_fit: Whole networks that the fit saw.
        n_held_out: Whole networks of the validation.
        mape: Mean absolute error of prediction against measurement, percent.
        max_error: Greatest absolute error, percent.
        tau: Kendall's tau between the two.
        split_half: Mean relative difference of the measured networks between rounds, percent: nothing can be better.
        disturbed: Share of the timings that were disturbed to the end, percent: a warning, no reason.
        is_valid: True if it passed.
        reasons: Why not, one sentence each; empty when valid.
        held_out: Pairs of measured and predicted milliseconds.
        minutes: How long the measurement took.
        drift: Change of the reference network from the first round to the last, percent.
    """

    n_fit: int
    n_held_out: int
    mape: float
    max_error: float
    tau: float
    split_half: float
    disturbed: float
    is_valid: bool
    reasons: tuple[str, ...]
    held_out: tuple[tuple[float, float], ...]
    minutes: float
    drift: float = 0.0

    @property
    def clear_pairs(self) -> NDArray[np.float64]:
        """Of each pair of held-out networks that are clearly apart: 1 if predictions order them as measured, -1 if not.

        Clearly apart are two that differ by more than twice what such networks repeat to. Their mean is Kendall's tau.
        """
        truth, predicted = np.array(self.held_out).T
        first, second = np.triu_indices(len(truth), 1)
        apart, middle = truth[first] - truth[second], (truth[first] + truth[second]) / 2
        is_clear = np.abs(apart) > CLEAR * self.split_half / 100 * middle
        order: NDArray[np.float64] = np.sign(apart * (predicted[first] - predicted[second]))[is_clear]
        return order


@dataclass(frozen=True, kw_only=True, eq=False)
class LatencyTable:
    """Times of the parts of a space on one device, a fit on whole networks and its validation.

    Attributes:
        device: Name of the device.
        fingerprint: What must agree for the table to hold, see `Device.fingerprint`.
        space: Name of the search space.
        space_digest: Its content, see `SearchSpace.digest`; empty where the table is of a version that knew names alone.
        measurements: By name of the part, see `latency_model.iterate_parts`.
        estimated: Milliseconds of blocks that there was no time to measure, by signature.
        reference_ms: Time of the reference network that all times are scaled to.
        coefficients: Constant and a coefficient for each of `latency_model.FEATURES`.
        report: The validation.
    """

    device: str
    fingerprint: Mapping[str, Any]
    space: str
    measurements: Mapping[str, Measurement]
    estimated: Mapping[str, float]
    reference_ms: float
    coefficients: tuple[float, ...]
    report: Report
    space_digest: str = ""
    _prices: WeakKeyDictionary[SearchSpace, FactorTable] = field(default_factory=WeakKeyDictionary, repr=False)

    @cached_property
    def parts(self) -> Parts:
        """The times, sorted by kind."""
        return sort_parts({**{name: m.ms for name, m in self.measurements.items()}, **self.estimated})

    def factor_table(self, space: SearchSpace) -> FactorTable:
        """Return the prices of a space's genomes in milliseconds.

        Raises:
            InvalidInputError: If the space is not the one that was measured.
        """
        if space.name != self.space:
            raise InvalidInputError(f"the table is of space '{self.space}', not '{space.name}'; measure this space first")
        if space not in self._prices:
            try:
                blocks = [combine(lambda b: self._price(block_features, b) if b else 0.0, [f]) for f in space.blocks]
                transitions = [
                    combine(lambda pair: self._price(transition_features, *pair) if pair else 0.0, [factor])
                    for factor in space.transitions(producer_key, consumer_key)
                ]
            except KeyError as error:
                raise InvalidInputError(
                    f"the table of space '{self.space}' lacks the part {error}: the space has changed; measure it anew"
                ) from error
            self._prices[space] = FactorTable(
                tuple(f.reduced().astype(float) for f in [*blocks, *transitions]), self.coefficients[0]
            )
        return self._prices[space]

    def _price(self, features: Callable[..., NDArray[np.float64]], *part: Any) -> float:
        return float(features(self.parts, *part) @ self.coefficients[1:])

    def predict_ms(self, space: SearchSpace, genomes: Genomes) -> NDArray[np.float64]:
        """Return the milliseconds that networks will take.

        Args:
            space: The measured one.
            genomes: Canonical, shape `(n, n_genes)`.

        Returns:
            Shape `(n,)`.

        Raises:
            InvalidInputError: If the space is another one.
        """
        return self.factor_table(space)(genomes)

    def check_device(self, fingerprint: Mapping[str, Any]) -> None:
        """Raise `InvalidInputError` with what differs if the table was not measured on this device as it is now."""
        mine, other = dict(self.fingerprint), dict(fingerprint)
        if differing := [key for key in sorted(mine | other) if mine.get(key) != other.get(key)]:
            what = "; ".join(f"{key} was {mine.get(key)}, is {other.get(key)}" for key in differing)
            raise InvalidInputError(
                f"the latency table '{self.device}' was measured elsewhere ({what}); measure this device"
            )

    def to_json(self) -> str:
        """Return the table as JSON text; milliseconds throughout."""
        content = {
            "format": "hwnas latency table",
            "version": FORMAT_VERSION,
            "unit": "ms",
            "device": self.device,
            "fingerprint": dict(self.fingerprint),
            "space": self.space,
            "space_digest": self.space_digest,
            "measurements": {name: [list(m.rounds), list(m.is_clean)] for name, m in self.measurements.items()},
            "estimated": dict(self.estimated),
            "reference_ms": self.reference_ms,
            "coefficients": list(self.coefficients),
            "report": asdict(self.report),
        }
        return json.dumps({**content, "digest": _digest(content)}, indent=1)

    def to_csv(self) -> str:
        """Return the parts as CSV text: part, milliseconds, spread (empty where estimated)."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["part", "latency_ms", "spread"])
        for name, measurement in self.measurements.items():
            writer.writerow([name, f"{measurement.ms:.6g}", f"{measurement.spread:.4f}"])
        writer.writerows([name, f"{ms:.6g}", ""] for name, ms in self.estimated.items())
        return text.getvalue()

    @classmethod
    def from_json(cls, text: str, origin: str) -> "LatencyTable":
        """Read what `to_json` wrote.

        Args:
            text: The content.
            origin: Name of the file, for messages.

        Raises:
            InvalidInputError: If the text is damaged, of another version, in another unit, or holds times that are none.
        """
        try:
            content = json.loads(text)
            if content["format"] != "hwnas latency table" or content["version"] != FORMAT_VERSION:
                raise DamagedFileError(f"'{origin}' is no latency table of version {FORMAT_VERSION}; measure anew")
            digest = _digest(content)
            if content["unit"] != "ms":
                raise InvalidInputError(f"'{origin}' must be in ms, got {content['unit']!r}")
            report = content["report"]
            if "greatest_error" in report:  # its name before
                report["max_error"] = report.pop("greatest_error")
            report.pop("truth_tau", None)  # told before, too
            report["held_out"] = tuple((float(a), float(b)) for a, b in report["held_out"])
            report["reasons"] = tuple(report["reasons"])
            table = cls(
                device=content["device"],
                fingerprint=content["fingerprint"],
                space=content["space"],
                space_digest=str(content.get("space_digest", "")),
                measurements={
                    name: Measurement(tuple(map(float, rounds)), tuple(map(bool, is_clean)))
                    for name, (rounds, is_clean) in content["measurements"].items()
                },
                estimated={name: float(ms) for name, ms in content["estimated"].items()},
                reference_ms=float(content["reference_ms"]),
                coefficients=tuple(map(float, content["coefficients"])),
                report=Report(**report),
            )
            times = [ms for m in table.measurements.values() for ms in (m.rounds or (math.nan,))]
            times += [*table.estimated.values(), table.reference_ms, *np.ravel(table.report.held_out or math.nan)]
            if not all(math.isfinite(ms) and ms > 0 for ms in times) or len(table.coefficients) != N_FEATURES + 1:
                raise DamagedFileError(f"'{origin}' holds times that are not positive numbers; measure anew")
            names = ("mape", "max_error", "tau", "split_half", "disturbed", "minutes", "drift")
            numbers = [getattr(table.report, name) for name in names]
            if not all(math.isfinite(number) for number in [*table.coefficients, *numbers]):
                raise DamagedFileError(f"'{origin}' holds numbers that are not finite; measure anew")
            if any(len(m.rounds) != len(m.is_clean) for m in table.measurements.values()):
                raise DamagedFileError(f"'{origin}' is damaged: rounds and marks differ in number; measure anew")
            dict(table.fingerprint), table.parts
            if content.get("digest") not in (None, digest):
                raise DamagedFileError(f"'{origin}' is damaged: its content is not what was written; measure anew")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            if isinstance(error, HwnasError):
                raise
            raise DamagedFileError(f"'{origin}' is damaged ({error!r}); delete it and measure anew") from error
        return table


def _digest(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a table's content without its digest, by which damage is known, 16 hexadecimal digits."""
    rest = {key: value for key, value in content.items() if key != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()[:16]
