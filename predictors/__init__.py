"""Predictors of accuracy from encoded genomes; they see matrices, never a network."""

from predictors.features.encoding import column_groups, encode
from predictors.metrics import Quality, cross_validate, ranking_quality
from predictors.models.bagging import BaggedPredictor
from predictors.models.ensemble import EnsemblePredictor
from predictors.models.gaussian_process import GaussianProcessPredictor
from predictors.models.linear_table import linear_table
from predictors.models.residual import ResidualPredictor, with_prior
from predictors.models.ridge import RidgePredictor
from predictors.predictor import PREDICTORS, Predictor, build_predictor
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
