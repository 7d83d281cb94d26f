"""Predictors of accuracy from encoded genomes; they see matrices, never a network."""

from predictors.encoding import encode
from predictors.metrics import Quality, cross_validate, ranking_quality
from predictors.predictor import PREDICTORS, Predictor
from predictors.ridge import RidgePredictor

__all__ = ["PREDICTORS", "Predictor", "Quality", "RidgePredictor", "cross_validate", "encode", "ranking_quality"]
