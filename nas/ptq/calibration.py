"""Scales of activations: from values that tensors took to what one integer is worth."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from search_spaces.operators.elementwise import Relu6
from search_spaces.precision.formats import NumberFormat
from search_spaces.registry import Registry

N_KEPT = 4096  # values of a tensor that are kept of each sample
SHARES = np.linspace(0.2, 1.0, 41)  # of the greatest value, as the greatest integer
PERCENTILE = 99.99
MIN_SCALE = 1e-9


@dataclass
class Values:
    """What a tensor took on samples.

    Attributes:
        least: Least value of all.
        greatest: Greatest value of all.
        limit: Beyond which no integer may reach; 0: none.
        kept: Some values, drawn at random.
    """

    least: float = 0.0
    greatest: float = 0.0
    limit: float = 0.0
    kept: list[NDArray[np.float32]] = field(default_factory=list)

    def add(self, x: NDArray[np.float32], rng: np.random.Generator) -> None:
        """Add the tensor of one sample."""
        flat = x.reshape(-1)
        self.least, self.greatest = min(self.least, float(flat.min())), max(self.greatest, float(flat.max()))
        self.kept.append(flat if flat.size <= N_KEPT else rng.choice(flat, N_KEPT))

    @property
    def sample(self) -> NDArray[np.float32]:
        """The values that were kept, shape `(n,)`."""
        return np.concatenate(self.kept)


Calibrator = Callable[[Values, NumberFormat], float]
CALIBRATORS: Registry[Calibrator] = Registry("calibrator")


@CALIBRATORS.register("minmax")
def minmax(values: Values, number_format: NumberFormat) -> float:
    """Return the scale at which nothing saturates."""
    reach = max(values.greatest, -values.least) if number_format.signed else values.greatest
    return reach / number_format.qmax


@CALIBRATORS.register("mse")
def mse(values: Values, number_format: NumberFormat) -> float:
    """Return the scale of least squared error."""
    largest, sample = minmax(values, number_format), values.sample
    if largest <= 0:
        return largest
    errors = [float(np.mean((_rounded(sample, largest * share, number_format) - sample) ** 2)) for share in SHARES]
    return largest * float(SHARES[int(np.argmin(errors))])


@CALIBRATORS.register("percentile")
def percentile(values: Values, number_format: NumberFormat) -> float:
    """Return the scale at which one value in ten thousand saturates."""
    sample = np.abs(values.sample) if number_format.signed else np.maximum(values.sample, 0)
    reach = float(np.percentile(sample, PERCENTILE))
    return min(reach / number_format.qmax, minmax(values, number_format)) or minmax(values, number_format)


def scale_of(values: Values, number_format: NumberFormat, calibrator: str) -> np.float32:
    """Return the scale of a tensor in a symmetric format."""
    found = CALIBRATORS.get(calibrator)(values, number_format)
    if values.limit:
        found = min(found, values.limit / number_format.qmax)
    return np.float32(max(found, MIN_SCALE))


def limit_of(node: object) -> float:
    """Return what the integers behind an operator may not reach beyond; 0: anything."""
    return Relu6.limit if isinstance(node, Relu6) else 0.0


def _rounded(x: NDArray[np.float32], scale: float, number_format: NumberFormat) -> NDArray[np.float32]:
    integers = np.clip(np.rint(x / scale), number_format.qmin, number_format.qmax)
    return np.asarray(integers * scale, np.float32)


def observe(tensors: Mapping[str, NDArray[np.float32]], found: dict[str, Values], rng: np.random.Generator) -> None:
    """Add the tensors of one sample to what is known of each."""
    for name, x in tensors.items():
        if name in found and x.dtype == np.float32:
            found[name].add(x, rng)
