"""Reading an XGBoost booster: its leaves, and whether they minimise the objective that influence is computed for."""

import json
from typing import Any

import numpy as np
import xgboost as xgb
from scipy.special import logit

from datagradient.influence.solvers import SolverError

OBJECTIVES = ("binary:logistic", "multi:softprob", "multi:softmax")
# The trees that the penalty is checked on. With the right one a tenth of the gaps are below GAP, by rounding 1e-8, also
# where monotone constraints clip values; with one that is wrong by a tenth they are above 3e-6.
TREES, GAP = 20, 1e-6


def best_rounds(booster: xgb.Booster) -> xgb.Booster:
    """Return the rounds that XGBoost's classifiers predict with: to the best one, where training stopped early."""
    best = booster.attr("best_iteration")
    if best is None or int(best) + 1 >= booster.num_boosted_rounds():
        return booster
    try:
        return booster[: int(best) + 1]
    except xgb.core.XGBoostError:  # a linear booster has no rounds to choose from
        return booster


def content_of(booster: xgb.Booster, n_classes: int, l2: float) -> dict:
    """Return a booster's JSON, or refuse what leaf values with a penalty λ do not represent.

    What a booster does not say cannot be refused: weights of samples, and margins that training started from.

    Raises:
        SolverError: the message names what was found and what is supported.
    """
    content = json.loads(bytes(booster.save_raw("json")))
    learner = content["learner"]
    unlike = _unlike_trees(learner) or _unlike_loss(learner, n_classes) or _unlike_penalty(booster, learner, l2)
    if unlike:
        raise SolverError(f"boosted: {unlike}")
    return content


def offset_of(content: dict, n_margins: int) -> np.ndarray:
    """Return the margins (n_margins,) before the first tree, from XGBoost's base_score."""
    base = np.atleast_1d(json.loads(content["learner"]["learner_model_param"]["base_score"])).astype(np.float64)
    return np.broadcast_to(logit(base) if n_margins == 1 else base, n_margins)


def without_offset(content: dict, n_margins: int) -> dict:
    """Return the booster's JSON, of the same trees, with a base_score that adds nothing to a margin."""
    learner = content["learner"]
    stored = learner["learner_model_param"]["base_score"]
    neutral = ",".join(["5E-1" if n_margins == 1 else "0E0"] * np.size(json.loads(stored)))
    score = f"[{neutral}]" if stored.startswith("[") else neutral
    parameters = {**learner["learner_model_param"], "base_score": score}
    return {**content, "learner": {**learner, "learner_model_param": parameters}}


def _unlike_trees(learner: dict) -> str:
    booster = learner["gradient_booster"]
    if booster["name"] != "gbtree":
        return f"a booster of kind {booster['name']}; supported is gbtree"
    trees = booster["model"]["trees"]
    if not trees:
        return "the booster has no tree; train it for one round at least"
    if any(tree["tree_param"]["size_leaf_vector"] not in ("0", "1") for tree in trees):
        return "leaves of several values; supported is multi_strategy one_output_per_tree"
    if any(any(tree["split_type"]) for tree in trees):
        return "splits by categorical features; encode them as numbers, e.g. one-hot, and train again"
    return ""


def _unlike_loss(learner: dict, n_classes: int) -> str:
    objective, parameters = learner["objective"], learner["learner_model_param"]
    name, n_margins = objective["name"], max(int(parameters["num_class"]), int(parameters.get("num_target", 1)), 1)
    if name not in OBJECTIVES:
        return f"objective {name}; supported are {', '.join(OBJECTIVES)}"
    if n_margins != (1 if n_classes == 2 else n_classes):
        return f"{n_margins} margins by {name} for {n_classes} classes; pass the booster's own number of classes" + (
            ", and train two classes with binary:logistic" if n_classes == 2 else ""
        )
    weight = float(objective.get("reg_loss_param", {}).get("scale_pos_weight", 1))
    return (
        "" if weight == 1 else f"scale_pos_weight {weight:g}; supported is 1, as the loss of all samples counts alike"
    )


def _unlike_penalty(booster: xgb.Booster, learner: dict, l2: float) -> str:
    # A booster read from a file no longer knows its training parameters, and tells the defaults.
    stored = json.loads(booster.save_config())["learner"]["gradient_booster"].get("tree_train_param", {})
    for key in ("alpha", "max_delta_step"):
        if float(stored.get(key, 0)):
            return f"{key} {float(stored[key]):g}; supported is 0, as leaf values have an L2 penalty alone"
    told = float(stored.get("lambda", 1))
    trees = learner["gradient_booster"]["model"]["trees"]
    gaps = np.concatenate([_gaps(tree, l2) for tree in trees[:: -(-len(trees) // TREES)]])
    if told in (1, np.float32(l2)) and not (len(gaps) and np.quantile(gaps, 0.1) > GAP):
        return ""
    return (
        f"the leaf values are not those of lambda = {l2:g} (the booster says {told:g}) without L1 penalty and "
        "max_delta_step; pass the booster's reg_lambda as l2"
    )


def _gaps(tree: dict[str, Any], l2: float) -> np.ndarray:
    """Return how far the sum of gradients of each inner node is from that of its children, as a share of both.

    A node's weight is −(sum of gradients) / (sum of curvatures + λ), a leaf's value that times the learning rate. That
    is fitted here, so that trees of less than three inner nodes say nothing.
    """
    left, right, curvature = (np.array(tree[key]) for key in ("left_children", "right_children", "sum_hessian"))
    leaf, inner = left < 0, np.flatnonzero(left >= 0)
    if len(inner) < 3:
        return np.array([])
    sums = np.where(leaf, tree["split_conditions"], tree["base_weights"]) * (curvature + l2)
    children = np.stack([left[inner], right[inner]])
    of_leaves = np.where(leaf[children], sums[children], 0.0).sum(axis=0)
    rest = sums[inner] - np.where(leaf[children], 0.0, sums[children]).sum(axis=0)
    rate = (of_leaves @ of_leaves) / (of_leaves @ rest) if of_leaves @ rest else 1.0
    size = np.abs(sums[inner]) + np.abs(sums[children] / np.where(leaf[children], rate, 1.0)).sum(axis=0)
    return np.abs(rest - of_leaves / rate) / np.maximum(size, 1e-30)
