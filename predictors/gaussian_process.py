"""A Gaussian process: a line over the encoded genome, and what bends away from it."""

import warnings

from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, Matern, WhiteKernel

from predictors.predictor import PREDICTORS, CheckedPredictor, Floats


@PREDICTORS.register("gaussian_process")
class GaussianProcessPredictor(CheckedPredictor):
    """Sum of a linear kernel, a Matern kernel of smoothness 5/2 and noise; scales found from the evidence.

    Args:
        length_scale: Where the search for the Matern kernel's length starts, in units of the encoded genome.
        noise: Where the search for the noise's variance starts; the target has variance 1.

    Source:
        Rasmussen and Williams 2006, chapters 4 and 5, as in scikit-learn.
    """

    def __init__(self, length_scale: float = 3.0, noise: float = 1e-2) -> None:
        self.length_scale = length_scale
        self.noise = noise

    def _learn(self, X: Floats, y: Floats) -> None:  # noqa: N803
        line = ConstantKernel(0.1, (1e-4, 1e2)) * DotProduct(1.0, "fixed")
        bend = ConstantKernel(0.5, (1e-3, 1e2)) * Matern(self.length_scale, (0.3, 30.0), nu=2.5)
        kernel = line + bend + WhiteKernel(self.noise, (1e-5, 1.0))
        self.model_ = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a scale at its bound: a part that does not matter
            self.model_.fit(X, y)

    def _answer(self, X: Floats, return_std: bool) -> Floats | tuple[Floats, Floats]:  # noqa: N803
        predicted: Floats | tuple[Floats, Floats] = self.model_.predict(X, return_std=return_std)
        return predicted
