"""Logistic regression with an L2 penalty: binary, or multinomial for more than two classes."""

import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit, softmax

from datagradient.errors import UserError
from datagradient.files import read_arrays, write_arrays
from datagradient.influence.glm import LinearProblem, rows_times

FAMILY = {
    "inputs": "features",
    "random": False,
    "colour": "#0072B2",
    "marker": "o",
    "settings": {
        "l2": {"type": "number", "gt": 0, "default": 1.0e-4},  # penalty added to the mean loss
        "tolerance": {"type": "number", "gt": 0, "default": 1.0e-6},  # on the largest entry of the gradient
        "max_iterations": {"type": "whole", "ge": 1, "default": 10_000},
    },
    "solver": {
        "name": "cg",
        "damping": 0.0,  # the penalty already keeps the Hessian positive definite
        "tolerance": 1.0e-2,  # relative residual, chosen by benchmarks/choose.py
        "max_iterations": 1000,
    },
}


@dataclass(frozen=True)
class LogisticModel:
    """Weights (classes, features) and bias (classes,); a single row for two classes."""

    weights: np.ndarray
    bias: np.ndarray
    l2: float


def fit(
    features: Any, labels: np.ndarray, n_classes: int, settings: dict, seed: int, weights: np.ndarray | None = None
) -> tuple[LogisticModel, dict]:
    """Minimise the mean loss plus penalty with scikit-learn's L-BFGS, in float64.

    Args:
        features: (n, d), dense or CSR.
        labels: (n,), values 0 … n_classes − 1, every class present.
        n_classes: number of classes.
        settings: ``l2``, of the penalty (l2 / 2)·‖weights‖² added to the *mean* loss (without the bias);
            ``tolerance`` on the largest entry of the gradient; ``max_iterations``.
        seed: unused, because the optimum does not depend on it.
        weights: factors of the samples' losses (n,); None for 1. The mean divides by their sum.

    Returns:
        The model, and a record: optimiser, iterations, and the seconds inside the fit.

    Raises:
        UserError: a class has no sample, or the optimiser did not converge.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    features, counts = as_float64(features), np.bincount(labels, minlength=n_classes)
    if not counts.all():
        raise UserError(f"logistic: no training sample of class {int(np.argmin(counts))}; class counts {counts}")
    estimator = LogisticRegression(
        C=1 / (settings["l2"] * (len(labels) if weights is None else weights.sum())),
        tol=settings["tolerance"],
        max_iter=settings["max_iterations"],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            start = time.perf_counter()
            estimator.fit(features, labels, sample_weight=weights)
            seconds = time.perf_counter() - start
        except ConvergenceWarning as warning:
            raise UserError(f"logistic: the fit did not converge ({warning}); raise max_iterations or l2") from None
    model = LogisticModel(estimator.coef_, estimator.intercept_, settings["l2"])
    return model, {"optimiser": "scikit-learn lbfgs", "iterations": int(estimator.n_iter_[0]), "seconds": seconds}


def as_float64(features: Any) -> Any:
    """Return the features in float64, sparse ones as CSR."""
    features = features.tocsr() if hasattr(features, "tocsr") else np.asarray(features)
    return features.astype(np.float64) if features.dtype != np.float64 else features


def probabilities(model: LogisticModel, features: Any) -> np.ndarray:
    """Return the class probabilities (n, classes)."""
    margins = rows_times(features, model.weights.T) + model.bias
    if margins.shape[1] > 1:
        return softmax(margins, axis=1)
    return np.hstack([expit(-margins), expit(margins)])


def problem(
    model: LogisticModel,
    features: Any,
    labels: np.ndarray,
    rows: np.ndarray | None = None,
) -> LinearProblem:
    """Return the influence problem of the model on its training set.

    Args:
        model: the trained model, at the minimum of the mean loss plus its L2 penalty. This is checked before a solve:
            an L1 penalty, weights of classes or samples, a bias fixed at 0, or another `l2` are refused.
        features: training features.
        labels: training labels, 0 … classes − 1.
        rows: the training samples that H is averaged over; None for all.
    """
    return LinearProblem(as_float64(features), labels, model.weights, model.bias, model.l2, rows)


def save(path: Path, model: LogisticModel, meta: dict) -> None:
    """Write the model as plain arrays."""
    write_arrays(path, {**meta, "l2": model.l2}, weights=model.weights, bias=model.bias)


def load(path: Path) -> tuple[LogisticModel, dict]:
    """Read a model that `save` wrote."""
    arrays, meta = read_arrays(path)
    return LogisticModel(arrays["weights"], arrays["bias"], meta["l2"]), meta
