"""A Gaussian process with many lengths, fitted by maximum posterior probability."""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

from predictors.predictor import CheckedPredictor, Floats

JITTER = 1e-8
MAX_ITERATIONS = 60
FARTHEST = 8  # standard deviations of its prior that a parameter may lie away; keeps the line search from overflow
MANY, GROWTH = 30, 1.05  # networks below which parameters are always fitted anew, and by how many more they are above
CACHED = 100_000  # elements of the kernel between candidates and measured networks that are computed at once


# Normal priors of the logarithms of the kernel's parameters: mean and standard deviation. Few measurements leave the maximum
# of the likelihood anywhere; the priors hold it where it was found for networks. Targets have variance 1.
WEIGHT_OF_CHOICE = (-1.5, 0.5)  # inverse squared length, shared by all features of a choice
WEIGHT_OF_FEATURE = (-2.0, 1.0)  # the same, one for each feature
BEND = (0.0, 1.0)  # variance of the Matern part
LINE = (0.0, 1.5)  # variance of the linear part
NOISE = (-6.0, 1.5)


class GaussianProcessPredictor(CheckedPredictor):
    """A line over the last features, a Matern part of smoothness 5/2 over all of them, and noise.

    Args:
        groups: The group of each feature; features of a group share a length. None: each has its own.
        n_lines: The line is over the last so many features; None: over all.
        weight: Mean and standard deviation of the prior of the logarithm of a group's inverse squared length.
        n_columns: It sees the first so many columns only; None: all.

    Source:
        Rasmussen and Williams 2006, chapters 4 and 5. Differs: priors on the logarithms of all parameters.
    """

    def __init__(
        self,
        groups: NDArray[np.int64] | None = None,
        n_lines: int | None = None,
        weight: tuple[float, float] = WEIGHT_OF_FEATURE,
        n_columns: int | None = None,
    ) -> None:
        self.groups = groups
        self.n_lines = n_lines
        self.weight = weight
        self.n_columns = n_columns

    def _learn(self, X: Floats, y: Floats) -> None:  # noqa: N803
        X = X[:, : self.n_columns]  # noqa: N806
        groups = np.arange(X.shape[1]) if self.groups is None else self.groups
        if len(groups) != X.shape[1]:
            raise ValueError(f"groups must name one group for each of {X.shape[1]} features, got {len(groups)}")
        self.groups_ = np.unique(groups, return_inverse=True)[1]
        self.line_ = slice(0 if self.n_lines is None else X.shape[1] - self.n_lines, None)
        self.mean_, self.spread_ = float(y.mean()), float(y.std()) or 1.0
        z = (y - self.mean_) / self.spread_
        n_groups = int(self.groups_.max()) + 1
        center, width = np.array([self.weight] * n_groups + [BEND, LINE, NOISE]).T

        def objective(theta: Floats) -> tuple[float, Floats]:
            loss, gradient = self._loss(theta, X, z)
            away = (theta - center) / width
            return loss + 0.5 * float(away @ away), gradient + away / width

        bounds = np.column_stack([center - FARTHEST * width, center + FARTHEST * width])
        settings = {"method": "L-BFGS-B", "bounds": bounds, "options": {"maxiter": MAX_ITERATIONS}}
        found = minimize(objective, center, jac=True, **settings)
        self.theta_, self.n_tuned_ = found.x, len(X)
        self._condition(X, z)

    def _relearn(self, X: Floats, y: Floats) -> None:  # noqa: N803
        if len(X) < MANY or len(X) >= GROWTH * self.n_tuned_:
            self._learn(X, y)
            return
        self.mean_, self.spread_ = float(y.mean()), float(y.std()) or 1.0
        self._condition(X[:, : self.n_columns], (y - self.mean_) / self.spread_)

    def _condition(self, X: Floats, z: Floats) -> None:  # noqa: N803
        """Condition the process on standardised targets by the parameters that are there."""
        self.X_ = X
        kernel = self._kernel(X, X)
        kernel[np.diag_indices(len(X))] += np.exp(self.theta_[-1]) + JITTER
        self.factor_ = cholesky(kernel, lower=True)
        self.alpha_ = cho_solve((self.factor_, True), z)

    def _answer(self, X: Floats, return_std: bool) -> Floats | tuple[Floats, Floats]:  # noqa: N803
        X = X[:, : self.n_columns]  # noqa: N806
        _, bend, line, _ = self._parameters(self.theta_)
        means, variances = np.empty(len(X)), bend + line * (X[:, self.line_] ** 2).sum(axis=1)
        step = max(1, CACHED // len(self.X_))
        for start in range(0, len(X), step):
            rows = slice(start, start + step)
            across = self._kernel(X[rows], self.X_)
            means[rows] = across @ self.alpha_
            if return_std:
                solved = solve_triangular(self.factor_, across.T, lower=True, check_finite=False)
                variances[rows] -= np.einsum("ij,ij->j", solved, solved)
        means = means * self.spread_ + self.mean_
        return (means, np.sqrt(np.maximum(variances, 1e-12)) * self.spread_) if return_std else means

    def _parameters(self, theta: Floats) -> tuple[Floats, float, float, float]:
        """Return the weight of each feature, and the variances of bend, line and noise."""
        bend, line, noise = np.exp(theta[-3:])
        return np.exp(theta[:-3])[self.groups_], float(bend), float(line), float(noise)

    def _kernel(self, a: Floats, b: Floats) -> Floats:
        weights, bend, line, _ = self._parameters(self.theta_)
        kernel: Floats = bend * _matern(_squared_distances(a, b, weights))[0]
        kernel += line * (a[:, self.line_] @ b[:, self.line_].T)
        return kernel

    def _loss(self, theta: Floats, X: Floats, z: Floats) -> tuple[float, Floats]:  # noqa: N803
        """Return the negative logarithm of the likelihood, and its gradient."""
        weights, bend, line, noise = self._parameters(theta)
        shape, slope = _matern(_squared_distances(X, X, weights))
        straight = line * (X[:, self.line_] @ X[:, self.line_].T)
        kernel = bend * shape + straight
        kernel[np.diag_indices(len(z))] += noise + JITTER
        try:
            factor = cholesky(kernel, lower=True, check_finite=False)
        except LinAlgError:
            return 1e10, np.zeros_like(theta)
        alpha = cho_solve((factor, True), z, check_finite=False)
        loss = 0.5 * float(z @ alpha) + float(np.log(np.diag(factor)).sum())
        outer = 0.5 * (cho_solve((factor, True), np.eye(len(z)), check_finite=False) - np.outer(alpha, alpha))
        # Of a sum over pairs of (x_i - x_j)^2 only products of matrices are left.
        pulled = outer * slope * bend
        of_feature = 2 * weights * (pulled.sum(axis=1) @ X**2 - ((pulled @ X) * X).sum(axis=0))
        of_group = np.bincount(self.groups_, of_feature)
        return loss, np.array([*of_group, bend * (outer * shape).sum(), (outer * straight).sum(), noise * np.trace(outer)])


def _squared_distances(a: Floats, b: Floats, weights: Floats) -> Floats:
    a, b = a * np.sqrt(weights), b * np.sqrt(weights)
    squared: Floats = a @ b.T
    squared *= -2
    squared += (a**2).sum(axis=1)[:, None]
    squared += (b**2).sum(axis=1)
    return np.maximum(squared, 1e-12, out=squared)


def _matern(squared: Floats) -> tuple[Floats, Floats]:
    """Return the correlation of smoothness 5/2 at a squared distance, and its derivative by the squared distance."""
    distance = np.sqrt(5 * squared)
    decay = np.exp(-distance)
    distance += 1
    slope = distance * decay
    return slope + 5 / 3 * squared * decay, -5 / 6 * slope
