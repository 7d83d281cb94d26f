"""Predictors of accuracy from encoded genomes; they see matrices, never a network."""

from predictors.committee import BaggedPredictor, EnsemblePredictor
from predictors.encoding import column_groups, encode
from predictors.gaussian_process import GaussianProcessPredictor
from predictors.linear import linear_table
from predictors.metrics import Quality, cross_validate, ranking_quality
from predictors.predictor import PREDICTORS, Predictor, build_predictor
from predictors.residual import ResidualPredictor, with_prior
from predictors.ridge import RidgePredictor
from predictors.selection import Judgement, LearningCurve, choose_predictor, judge, learning_curve
from predictors.tuning import tune_predictor

__all__ = [
    "PREDICTORS",
    "BaggedPredictor",
    "EnsemblePredictor",
    "GaussianProcessPredictor",
    "Judgement",
    "LearningCurve",
    "Predictor",
    "Quality",
    "ResidualPredictor",
    "RidgePredictor",
    "build_predictor",
    "choose_predictor",
    "column_groups",
    "cross_validate",
    "encode",
    "judge",
    "learning_curve",
    "linear_table",
    "ranking_quality",
    "tune_predictor",
    "with_prior",
]
