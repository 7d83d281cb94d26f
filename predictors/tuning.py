"""Hyper-parameters of predictors, tuned by Optuna when that is asked for."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import optuna
from sklearn.base import clone

from predictors.build import build_predictor
from predictors.features.features import Features
from predictors.metrics import cross_validate
from predictors.models.residual import ResidualPredictor
from predictors.predictor import Floats, Predictor
from predictors.selection import score

ENOUGH = 10  # networks below which settings cannot be compared

SEARCHED: Mapping[str, Mapping[str, Callable[[optuna.Trial, str], Any]]] = {
    "trees": {
        "estimator__n_estimators": lambda trial, name: trial.suggest_int(name, 30, 300, log=True),
        "estimator__max_depth": lambda trial, name: trial.suggest_int(name, 1, 5),
        "estimator__learning_rate": lambda trial, name: trial.suggest_float(name, 0.02, 0.3, log=True),
        "estimator__subsample": lambda trial, name: trial.suggest_float(name, 0.5, 1.0),
    },
    "mlp": {
        "estimator__regressor__mlpregressor__alpha": lambda trial, name: trial.suggest_float(name, 1e-3, 30.0, log=True),
        "estimator__regressor__mlpregressor__hidden_layer_sizes": lambda trial, name: (
            (width := trial.suggest_int(name, 8, 128, log=True)),
            width,
        ),
    },
    "ridge": {
        "alpha_2": lambda trial, name: trial.suggest_float(name, 1e-6, 10.0, log=True),
        "lambda_2": lambda trial, name: trial.suggest_float(name, 1e-6, 10.0, log=True),
    },
}


def tune_predictor(
    name: str,
    features: Features | None,
    X: Floats,  # noqa: N803
    y: Floats,
    *,
    n_trials: int,
    rng: np.random.Generator,
) -> Predictor:
    """Return an unfitted predictor with the hyper-parameters that rank unseen networks best.

    Args:
        name: A registered predictor. A Gaussian process finds its own parameters, and an ensemble has those of its members:
            they are returned as they are.
        features: What it sees.
        X: Features of some networks, shape `(n, f)`, n >= 10.
        y: Truth, shape `(n,)`; below 10 networks nothing is tuned.
        n_trials: Settings to try, the default ones first, so that tuning never ranks worse than no tuning.
        rng: Source of everything random.

    Source:
        Tree-structured Parzen estimators, Bergstra et al. 2011, as in Optuna.
    """
    base = build_predictor(name, features)
    searched = SEARCHED.get(name)
    if not searched or n_trials < 1 or len(y) < ENOUGH:
        return base
    prefix = "residual__" if isinstance(base, ResidualPredictor) else ""
    best, found = score(cross_validate(partial(clone, base), X, y)), base

    def objective(trial: optuna.Trial) -> float:
        nonlocal best, found
        settings = {f"{prefix}{key}": suggest(trial, key) for key, suggest in searched.items()}
        candidate = clone(base).set_params(**settings)
        reached = score(cross_validate(partial(clone, candidate), X, y))
        if reached > best:
            best, found = reached, candidate
        return reached

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=int(rng.integers(2**31)), n_startup_trials=8)
    )
    study.optimize(objective, n_trials=n_trials)
    return found
