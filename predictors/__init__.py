"""Predictors of accuracy from encoded genomes; they see matrices, never a network."""

from predictors.committee import BaggedPredictor, EnsemblePredictor
from predictors.encoding import encode
from predictors.gaussian_process import GaussianProcessPredictor
from predictors.linear import linear_table
from predictors.metrics import Quality, cross_validate, ranking_quality
from predictors.predictor import PREDICTORS, Predictor
from predictors.residual import ResidualPredictor, with_prior
from predictors.ridge import RidgePredictor
from predictors.selection import LearningCurve, choose_predictor, learning_curve

__all__ = [
    "PREDICTORS",
    "BaggedPredictor",
    "EnsemblePredictor",
    "GaussianProcessPredictor",
    "LearningCurve",
    "Predictor",
    "Quality",
    "ResidualPredictor",
    "RidgePredictor",
    "choose_predictor",
    "cross_validate",
    "encode",
    "learning_curve",
    "linear_table",
    "ranking_quality",
    "with_prior",
]
