"""Predictors, a kind a file."""
