"""Predictors of accuracy from encoded genomes; they see matrices, never a network."""

from predictors.build import build_predictor
from predictors.features.encoding import column_groups, encode
from predictors.features.features import Features, Signal
from predictors.metrics import RankingMetrics, cross_validate, ranking_metrics
from predictors.models.bagging import BaggedPredictor
from predictors.models.ensemble import EnsemblePredictor
from predictors.models.gaussian_process import GaussianProcessPredictor
from predictors.models.linear_table import linear_table
from predictors.models.residual import ResidualPredictor, with_prior
from predictors.models.ridge import RidgePredictor
from predictors.pairs import PairEffect, pair_effects
from predictors.predictor import PREDICTORS, Predictor
from predictors.selection import Assessment, LearningCurve, assess, choose_predictor, learning_curve
from predictors.tuning import tune_predictor

__all__ = [
    "PREDICTORS",
    "Assessment",
    "BaggedPredictor",
    "EnsemblePredictor",
    "Features",
    "GaussianProcessPredictor",
    "LearningCurve",
    "PairEffect",
    "Predictor",
    "RankingMetrics",
    "ResidualPredictor",
    "RidgePredictor",
    "Signal",
    "assess",
    "build_predictor",
    "choose_predictor",
    "column_groups",
    "cross_validate",
    "encode",
    "learning_curve",
    "linear_table",
    "pair_effects",
    "ranking_metrics",
    "tune_predictor",
    "with_prior",
]
