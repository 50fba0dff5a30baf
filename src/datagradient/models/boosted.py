"""Gradient-boosted trees by XGBoost; influence is computed for the leaf values, with the tree structure held fixed."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xgboost as xgb
from scipy.special import expit, softmax

from datagradient.files import read_arrays, write_arrays
from datagradient.influence.labels import class_numbers
from datagradient.influence.leaf_problem import LeafProblem
from datagradient.influence.leaves import (
    best_rounds,
    check_first_tree,
    check_samples,
    content_of,
    offset_of,
    with_values,
    without_offset,
)
from datagradient.influence.solvers import SolverError
from datagradient.seeds import integer_seed

FAMILY = {
    "inputs": "features",
    "random": True,
    "colour": "#009E73",
    "marker": "^",
    "settings": {
        "rounds": {"type": "whole", "ge": 1, "le": 100_000, "default": 200},
        "depth": {"type": "whole", "ge": 1, "le": 20, "default": 4},
        "learning_rate": {"type": "number", "gt": 0, "le": 1, "default": 0.1},
        "subsample": {"type": "number", "gt": 0, "le": 1, "default": 0.5},  # share of the samples used in each round
        "columns": {"type": "number", "gt": 0, "le": 1, "default": 0.3},  # share of the features used for each split
        "max_features": {"type": "whole", "ge": 1, "default": 2000},  # of texts, the most frequent words
        "l2": {"type": "number", "ge": 0, "default": 1.0},  # XGBoost's lambda, added to the sum of losses
        "max_bins": {"type": "whole", "ge": 2, "le": 65_535, "default": 64},
    },
    "solver": {
        "name": "cg",
        "damping": 0.1,
        "tolerance": 1.0e-2,
        "max_iterations": 300,
        "samples": 2000,  # number that curvature is averaged over; None for the whole training set
    },
}


@dataclass(frozen=True)
class BoostedModel:
    """An XGBoost booster, the feature columns that it uses, and its penalty λ on leaf values."""

    booster: xgb.Booster
    columns: np.ndarray
    n_classes: int
    l2: float


def fit(
    features: Any, labels: np.ndarray, n_classes: int, settings: dict, seed: int, weights: np.ndarray | None = None
) -> tuple[BoostedModel, dict]:
    """Train with histograms of the features.

    Args:
        features: (n, d), dense or CSR.
        labels: (n,), values 0 … n_classes − 1, every class present.
        n_classes: number of classes; one tree per round for two, otherwise one per round and class.
        settings: ``rounds``, ``depth``, ``learning_rate``; ``subsample``, the share of samples used in each round;
            ``columns``, the share of features used for each split; ``max_features``, the number of most frequent
            sparse features that are used; ``l2``, XGBoost's λ, added to the *sum* of losses; ``max_bins`` of a
            histogram.
        seed: drives the sampling.
        weights: factors of the samples' losses (n,); None for 1. A sample of weight 0 only takes part in the sampling.

    Returns:
        The model, and a record: optimiser, rounds, and the seconds inside the fit.
    """
    start = time.perf_counter()
    columns = _most_frequent(features, int(settings["max_features"]))
    data = xgb.QuantileDMatrix(_take(features, columns), labels, weight=weights, max_bin=int(settings["max_bins"]))
    several = {"objective": "multi:softprob", "num_class": n_classes}
    parameters = {
        **(several if n_classes > 2 else {"objective": "binary:logistic"}),
        # Pinned so that every margin starts from 0; XGBoost would estimate it from the labels.
        "base_score": 0.5 if n_classes == 2 else 0.0,
        "tree_method": "hist", "max_bin": int(settings["max_bins"]), "max_depth": int(settings["depth"]),
        "eta": settings["learning_rate"], "subsample": settings["subsample"], "lambda": settings["l2"],
        "colsample_bynode": settings["columns"], "seed": integer_seed(seed, "boosted"),
    }  # fmt: skip
    booster = xgb.train(parameters, data, num_boost_round=int(settings["rounds"]))
    seconds = time.perf_counter() - start
    record = {"optimiser": "xgboost hist", "iterations": int(settings["rounds"]), "seconds": seconds}
    return BoostedModel(booster, columns, n_classes, settings["l2"]), record


def probabilities(model: BoostedModel, features: Any) -> np.ndarray:
    """Return the class probabilities (n, classes)."""
    margins = _margins(best_rounds(model.booster), features, model).astype(np.float64)
    return softmax(margins, axis=1) if model.n_classes > 2 else np.stack([expit(-margins), expit(margins)], axis=1)


def problem(
    model: BoostedModel,
    features: Any,
    labels: np.ndarray,
    rows: np.ndarray | None = None,
    weights: np.ndarray | None = None,
) -> LeafProblem:
    """Return the influence problem of the leaf values on the training set; arguments are those of `logistic.problem`.

    If training stopped early, the problem is that of the best rounds. The booster must have been trained on these
    samples and labels, with the `weights` (n,) that are given, None for 1, and without starting margins. A solve
    refuses what does not fit the first tree: its total curvature and, where all samples trained it, each leaf.

    Raises:
        SolverError: leaf values with λ = `l2` do not represent the kind of booster, its objective or its penalty.
    """
    features = features if hasattr(features, "tocsr") else np.asarray(features)
    trained, n_margins = best_rounds(model.booster), 1 if model.n_classes == 2 else model.n_classes
    content = content_of(trained, model.n_classes, model.l2)
    stored_trees = content["learner"]["gradient_booster"]["model"]
    neutral, trees = without_offset(content, n_margins), stored_trees["trees"]
    # A leaf has no children; its value is stored where an inner node has its threshold.
    leaves = [np.array(tree["left_children"]) < 0 for tree in trees]
    stored = [np.array(tree["split_conditions"]) for tree in trees]
    smallest = np.min_scalar_type(max(map(len, leaves)))

    def nodes_of(samples: Any) -> np.ndarray:
        data = xgb.DMatrix(_take(samples, model.columns))
        nodes = trained.predict(data, pred_leaf=True, strict_shape=True, validate_features=False)
        return np.asfortranarray(nodes.reshape(len(nodes), -1), dtype=smallest)

    def margins_of(samples: Any, direction: list[np.ndarray] | None) -> np.ndarray:
        booster = trained
        if direction is not None:
            changed = [{**tree, "split_conditions": np.where(leaf, new, old).tolist()}
                       for tree, leaf, old, new in zip(trees, leaves, stored, direction, strict=True)]  # fmt: skip
            booster = xgb.Booster()
            booster.load_model(bytearray(json.dumps(with_values(neutral, changed)).encode()))
        return _margins(booster, samples, model).reshape(-1, n_margins)

    offset = offset_of(content, n_margins)
    values = [np.where(leaf, old, 0.0) for leaf, old in zip(leaves, stored, strict=True)]
    classes = np.array(stored_trees["tree_info"])
    total = len(labels) if weights is None else float(weights.sum())

    def nodes_of_first() -> np.ndarray:
        data = xgb.DMatrix(_take(features, model.columns))
        nodes = trained[:1].predict(data, pred_leaf=True, strict_shape=True, validate_features=False)
        return nodes.reshape(len(nodes), -1)[:, 0].astype(np.int64)

    def check() -> None:
        check_samples(content, trained, offset, total)
        numbers = class_numbers(labels, len(labels), model.n_classes, "training")
        check_first_tree(content, trained, nodes_of_first, offset, numbers, weights, model.l2)

    return LeafProblem(
        features, labels, values, classes, n_margins, offset, model.l2 / len(labels),
        nodes_of, margins_of, rows,
        check_samples=check, weights=weights,
    )  # fmt: skip


def save(path: Path, model: BoostedModel, meta: dict) -> None:
    """Write the booster in XGBoost's own UBJSON, as one array of bytes among plain arrays."""
    booster = np.frombuffer(model.booster.save_raw("ubj"), dtype=np.uint8)
    write_arrays(path, {**meta, "n_classes": model.n_classes, "l2": model.l2}, booster=booster, columns=model.columns)


def load(path: Path) -> tuple[BoostedModel, dict]:
    """Read a model that `save` wrote."""
    arrays, meta = read_arrays(path)
    booster = xgb.Booster()
    booster.load_model(bytearray(arrays["booster"].tobytes()))
    return BoostedModel(booster, arrays["columns"], meta["n_classes"], meta["l2"]), meta


def _most_frequent(features: Any, limit: int) -> np.ndarray:
    """Return the columns to use, in order: all of a dense matrix, those most often non-zero of a sparse one."""
    if not hasattr(features, "tocsr") or features.shape[1] <= limit:
        return np.arange(features.shape[1])
    return np.sort(np.argsort(-features.getnnz(axis=0), kind="stable")[:limit])


def _margins(booster: xgb.Booster, features: Any, model: BoostedModel) -> np.ndarray:
    return booster.inplace_predict(_take(features, model.columns), predict_type="margin", validate_features=False)


def _take(features: Any, columns: np.ndarray) -> Any:
    """Return the feature columns that a booster uses."""
    features = features if hasattr(features, "tocsr") else np.asarray(features)
    if len(columns) == features.shape[1]:
        return features
    if features.shape[1] <= columns.max(initial=-1):
        raise SolverError(f"samples have {features.shape[1]} features, and the booster takes number {columns.max()}")
    return features[:, columns]
