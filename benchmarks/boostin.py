"""BoostIn (Brophy, Hammoudeh and Lowd 2023, JMLR 24:154): influence on boosted trees along the path of their training.

As in the paper, tree structures are held fixed, and a sample's influence on a leaf value is followed through the leaf
of each tree, not through the residuals of later trees.
"""

import json
from typing import Any

import numpy as np
import xgboost as xgb
from scipy.special import expit, softmax


def boostin(model: Any, inputs: Any, labels: np.ndarray, validation: Any, validation_labels: np.ndarray) -> np.ndarray:
    """Return the influence (n,) of every training sample on the summed validation loss: positive is harmful.

    Args:
        model: a `datagradient.models.boosted.BoostedModel`; its sampling of rows is left out of account.
        inputs: training features.
        labels: (n,) training labels.
        validation: features of the validation samples.
        validation_labels: (m,).
    """
    booster, classes = model.booster, model.n_classes
    settings = json.loads(booster.save_config())["learner"]["gradient_booster"]["tree_train_param"]
    rate, penalty = float(settings["eta"]), float(settings["lambda"])
    stored = json.loads(booster.save_raw("json"))["learner"]["gradient_booster"]["model"]
    values = [np.array(tree["split_conditions"]) for tree in stored["trees"]]
    columns = 1 if classes == 2 else classes
    sides = []
    for samples, given in ((inputs, labels), (validation, validation_labels)):
        data = xgb.DMatrix(samples[:, model.columns])
        nodes = booster.predict(data, pred_leaf=True, strict_shape=True).reshape(data.num_row(), -1).astype(int)
        target = given[:, None].astype(float) if columns == 1 else np.eye(classes)[given]
        sides.append((nodes, target, np.zeros((len(given), columns))))
    (nodes, target, margins), (judge_nodes, judge_target, judge_margins) = sides
    influence = np.zeros(len(labels))
    for first in range(0, len(values), columns):
        chances, judged = (expit(part) if columns == 1 else softmax(part, axis=1) for part in (margins, judge_margins))
        for column in range(columns):
            tree, leaf, judge_leaf = first + column, nodes[:, first + column], judge_nodes[:, first + column]
            p = chances[:, column]
            gradient, curvature = p - target[:, column], p * (1 - p) * (1 if columns == 1 else 2)
            size = len(values[tree])
            weight = np.bincount(leaf, curvature, size) + penalty
            step = np.bincount(leaf, gradient, size) / weight  # minus the leaf's value before the rate
            # The change of the leaf's value per unit of extra weight on a sample.
            change = -rate * (gradient - curvature * step[leaf]) / weight[leaf]
            slope = np.bincount(judge_leaf, judged[:, column] - judge_target[:, column], size)
            influence += slope[leaf] * change
            margins[:, column] += values[tree][leaf]
            judge_margins[:, column] += values[tree][judge_leaf]
    return influence
