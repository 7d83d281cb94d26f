"""Divergence: how far what a network gives is from what its original gives, sample by sample."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.tasks.metric import Metric, declare

Doubles = NDArray[np.float64]
DIVERGENCE = declare(Metric(name="divergence", digits=5, of_data=True))
ERROR = Metric(name="error", unit="%", digits=2, of_data=True)  # of a user's labels; declared by classification, too

KINDS = {
    "kl": "Kullback-Leibler divergence of the classes, nats",
    "cosine": "1 - cosine of the embeddings",
    "noise": "squared difference over the variance of what the original gives",
}
EPS = 1e-12


def kind_of(reference: NDArray[Any]) -> str:
    """Return how outputs are compared, by what the original gives, shape `(n, ...)`.

    Rows of one number for each class, or of probabilities, by Kullback-Leibler; rows of length 1 by their angle; all
    else by the share of noise.
    """
    rows = reference.reshape(len(reference), -1).astype(np.float64)
    if _are_probabilities(reference):
        return "kl"
    if reference.ndim == 2 and reference.shape[1] > 1:
        return "cosine" if np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-3) else "kl"
    return "noise"


def divergence(kind: str, found: NDArray[Any], reference: NDArray[Any]) -> Doubles:
    """Return the divergence of each sample, shape `(n,)`.

    Args:
        kind: A key of `KINDS`.
        found: What a network gives, shape `(n, ...)`.
        reference: What the original gives.
    """
    x, y = found.astype(np.float64), reference.astype(np.float64)
    if kind == "kl":
        p, q = (a if _are_probabilities(reference) else _softmax(a) for a in (y, x))
        ratio = p * (np.log(np.maximum(p, EPS)) - np.log(np.maximum(q, EPS)))
        result: Doubles = ratio.sum(axis=-1).reshape(len(x), -1).mean(axis=1)
        return result.clip(0.0)
    x, y = x.reshape(len(x), -1), y.reshape(len(y), -1)
    if kind == "cosine":
        products = np.sum(x * y, axis=1)
        angles: Doubles = 1 - products / np.maximum(np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1), EPS)
        return angles
    noise: Doubles = np.mean((x - y) ** 2, axis=1) / max(float(y.var()), EPS)
    return noise


@dataclass(frozen=True)
class Curvature:
    """Second order of the divergence of an output where nothing diverges, by random vectors.

    Attributes:
        kind: A key of `KINDS`.
        reference: What the original gives, shape `(n, ...)`.
        variance: Of that.
        are_probabilities: Whether that holds probabilities.
    """

    kind: str
    reference: NDArray[Any]
    variance: float
    are_probabilities: bool

    @classmethod
    def of(cls, kind: str, reference: NDArray[Any]) -> "Curvature":
        """Return that of an output."""
        return cls(kind, reference, float(reference.astype(np.float64).var()), _are_probabilities(reference))

    def draw(self, i: int, rng: np.random.Generator) -> Doubles:
        """Return a random vector of the shape of one sample of the output.

        Half the mean square of its product with a small change is what that diverges by. Of classes it is the gradient of
        the likelihood of an answer that is drawn as the original would give it, of all else it is of normal numbers.
        """
        y = self.reference[i].astype(np.float64)
        v: Doubles
        if self.kind == "kl":
            p = np.maximum(y, EPS) if self.are_probabilities else _softmax(y)
            drawn = rng.multinomial(1, p / p.sum(axis=-1, keepdims=True))
            v = (drawn / p - 1 if self.are_probabilities else drawn - p) / np.sqrt(max(y.size // y.shape[-1], 1))
            return v
        v = rng.standard_normal(y.shape)
        if self.kind == "cosine":
            length = max(float(np.linalg.norm(y)), EPS)
            v = (v - (v * y).sum() * y / length**2) / length
        else:
            v *= np.sqrt(2 / (y.size * max(self.variance, EPS)))
        return v


def divergences(
    kinds: Mapping[str, str], found: Mapping[str, NDArray[Any]], reference: Mapping[str, NDArray[Any]]
) -> dict[str, Doubles]:
    """Return the divergence of each sample by output."""
    return {name: divergence(kind, found[name], reference[name]) for name, kind in kinds.items()}


def joined(by_output: Mapping[str, Doubles], weights: Mapping[str, float], steer: str = "mean") -> Doubles:
    """Return the divergence that steers, shape `(n,)`: the weighted sum of outputs; without weights their mean or worst."""
    if not weights and steer == "worst":
        return max(by_output.values(), key=lambda values: float(values.mean()))
    weights = weights or dict.fromkeys(by_output, 1 / len(by_output))
    total: Doubles = np.sum([weight * by_output[name] for name, weight in weights.items()], axis=0)
    return total


def error_of(found: NDArray[Any], labels: NDArray[np.int64]) -> float:
    """Return of how many samples in a hundred another class is the greatest.

    Args:
        found: What a network gives, shape `(n, ...)`.
        labels: Of the classes, shape `(n,)`.
    """
    return 100 * float(np.mean(found.reshape(len(found), -1).argmax(axis=1) != labels))


def _softmax(x: Doubles) -> Doubles:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    result: Doubles = powers / powers.sum(axis=-1, keepdims=True)
    return result


def _are_probabilities(x: NDArray[Any]) -> bool:
    return x.ndim >= 2 and x.shape[-1] > 1 and bool((x >= 0).all()) and np.allclose(x.sum(axis=-1), 1, atol=1e-3)
