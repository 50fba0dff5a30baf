"""Reading an XGBoost booster: its leaves, and whether they minimise the objective that influence is computed for."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import xgboost as xgb
from scipy.special import logit

from datagradient.influence.glm import probabilities_of
from datagradient.influence.solvers import SolverError

OBJECTIVES = ("binary:logistic", "multi:softprob", "multi:softmax")
# Number of trees on which the penalty is checked. With the right penalty a tenth of the gaps are below GAP (rounding
# gives 1e-8), even if monotone constraints clip values; if the penalty is wrong by a tenth they are above 3e-6.
TREES, GAP = 20, 1e-6
LEAVES = 0.01  # share that the curvature and the values of the first tree's leaves may differ by
SAME = 1e-5  # … where it is that of exactly these samples, in single precision
UNCLIPPED = 0.3  # share of the first tree's leaves that monotone constraints leave as they are, at least
CURVATURE = 0.01  # share by which the curvature at the root of the first tree may differ from the training samples'


def best_rounds(booster: xgb.Booster) -> xgb.Booster:
    """Return the rounds that XGBoost's classifiers use to predict: up to the best one if training stopped early."""
    best = booster.attr("best_iteration")
    if best is None or int(best) + 1 >= booster.num_boosted_rounds():
        return booster
    try:
        return booster[: int(best) + 1]
    except xgb.core.XGBoostError:  # a linear booster has no rounds to choose from
        return booster


def content_of(booster: xgb.Booster, n_classes: int, l2: float) -> dict:
    """Return a booster's JSON, or refuse a booster that leaf values with a penalty λ do not represent.

    Raises:
        SolverError: the message names what the booster has and what is supported.
    """
    content = json.loads(bytes(booster.save_raw("json")))
    learner = content["learner"]
    unlike = _unlike_trees(learner) or _unlike_loss(learner, n_classes) or _unlike_penalty(booster, learner, l2)
    if unlike:
        raise SolverError(f"boosted: {unlike}")
    return content


def told_penalty(booster: xgb.Booster) -> float:
    """Return the penalty λ on leaf values that a booster states; one read from a file states the default, 1."""
    return float(_training_parameters(booster).get("lambda", 1))


def classes_of(booster: xgb.Booster) -> int:
    """Return the number of classes that a booster was trained for.

    Raises:
        SolverError: its objective is not a classification objective.
    """
    learner = json.loads(booster.save_config())["learner"]
    if learner["objective"]["name"] not in OBJECTIVES:
        raise SolverError(f"boosted: objective {learner['objective']['name']}; supported are {', '.join(OBJECTIVES)}")
    return max(2, int(learner["learner_model_param"]["num_class"]))


def offset_of(content: dict, n_margins: int) -> np.ndarray:
    """Return the margins (n_margins,) before the first tree, from XGBoost's base_score."""
    base = np.atleast_1d(json.loads(content["learner"]["learner_model_param"]["base_score"])).astype(np.float64)
    return np.broadcast_to(logit(base) if n_margins == 1 else base, n_margins)


def without_offset(content: dict, n_margins: int) -> dict:
    """Return the booster's JSON with the same trees and a base_score that adds nothing to a margin."""
    learner = content["learner"]
    stored = learner["learner_model_param"]["base_score"]
    neutral = ",".join(["5E-1" if n_margins == 1 else "0E0"] * np.size(json.loads(stored)))
    score = f"[{neutral}]" if stored.startswith("[") else neutral
    parameters = {**learner["learner_model_param"], "base_score": score}
    return {**content, "learner": {**learner, "learner_model_param": parameters}}


def with_values(content: dict, trees: list[dict]) -> dict:
    """Return the booster's JSON with other trees; the content given stays as it is."""
    learner = content["learner"]
    booster = {**learner["gradient_booster"], "model": {**learner["gradient_booster"]["model"], "trees": trees}}
    return {**content, "learner": {**learner, "gradient_booster": booster}}


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


def check_samples(content: dict, booster: xgb.Booster, offset: np.ndarray, n: float) -> None:
    """Check by the curvature at the root of the first tree that it was trained on these samples (weights sum to n).

    Raises:
        SolverError: the curvature is larger than that of the samples; or smaller, if every tree used all samples.
    """
    ratio = _root_ratio(content, offset, n)
    if ratio > 1 + CURVATURE or (ratio < 1 - CURVATURE and _draws_none(booster) and _knows_training(booster)):
        raise SolverError(
            f"boosted: the first tree was trained on {ratio:.4g} times the curvature of the {n:g} training samples; "
            "pass those that the booster was trained on, and the weights of samples that it was given; train it "
            "without base_margin"
        )


def check_first_tree(
    content: dict,
    booster: xgb.Booster,
    nodes_of_first: Callable[[], np.ndarray],
    offset: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray | None,
    l2: float,
) -> None:
    """Refuse training samples or labels that the leaves of the first tree are not of, where all samples trained it.

    A leaf's curvature is the sum over the samples in it, and its value −η G / (curvature + λ), G the sum of their
    gradients and η the learning rate.

    Args:
        content: of the booster, see `content_of`.
        booster: as it was trained, or read from a file.
        nodes_of_first: returns the node (n,) of the first tree that each sample ends in.
        offset: (n_margins,) the margins before the first tree.
        labels: (n,) class numbers.
        weights: (n,) of the samples; None for 1.
        l2: the penalty λ.

    Raises:
        SolverError: they are not.
    """
    if not _draws_none(booster):
        return
    total, knows = len(labels) if weights is None else float(weights.sum()), _knows_training(booster)
    # A booster that does not say so used all samples if its first tree has exactly their curvature.
    if not knows and abs(_root_ratio(content, offset, total) - 1) > SAME:
        return
    nodes, model = nodes_of_first(), content["learner"]["gradient_booster"]["model"]
    tree, place = model["trees"][0], model["tree_info"][0]
    p = probabilities_of(offset[None])[0, place]
    is_class = labels == (1 if len(offset) == 1 else place)
    factors = np.ones(len(labels)) if weights is None else weights
    size = len(tree["left_children"])
    leaf = np.array(tree["left_children"]) < 0
    factor = 1 if len(offset) == 1 else 2  # XGBoost takes twice the diagonal of the Hessian for several classes
    curvature = factor * p * (1 - p) * np.bincount(nodes, factors, minlength=size)[leaf]
    stored = np.array(tree["sum_hessian"])[leaf]
    slopes = np.bincount(nodes, factors * (p - is_class), minlength=size)[leaf]
    values, expected = np.array(tree["split_conditions"])[leaf], -slopes / np.maximum(curvature + l2, 1e-16)
    rate = values @ expected / max(float(expected @ expected), 1e-30)
    others = np.abs(curvature - stored).sum() > LEAVES * stored.sum()
    clipped = "monotone_constraints" in _training_parameters(booster) and any(
        value not in "(), 0" for value in _training_parameters(booster)["monotone_constraints"]
    )
    gap = np.linalg.norm(values - max(rate, 0) * expected)  # a rate below 0 would fit where two classes are swapped
    labelled = clipped or gap <= LEAVES * max(np.linalg.norm(values), 1e-12)
    if not labelled and not knows:  # monotone constraints, which it does not state, clip some leaves
        rates = np.sort(values / np.where(expected == 0, np.inf, expected))
        alike = np.searchsorted(rates, rates * (1 + LEAVES), "right") - np.arange(len(rates))
        labelled = alike[rates > 0].max(initial=0) >= max(3, UNCLIPPED * len(rates))
    if others or not labelled:
        which = "other samples" if others else "other labels or another loss"
        raise SolverError(
            f"boosted: the first tree was trained on {which} than these; pass the samples and labels that the booster "
            "was trained on, with the same missing values, and train it without base_margin and a custom objective"
        )


def _root_ratio(content: dict, offset: np.ndarray, n: float) -> float:
    """Return the curvature at the root of the first tree ÷ that of samples whose weights sum to n."""
    model = content["learner"]["gradient_booster"]["model"]
    p = probabilities_of(offset[None])[0, model["tree_info"][0]]
    # For several classes, XGBoost uses twice the diagonal of the Hessian.
    return float(model["trees"][0]["sum_hessian"][0]) / (n * max(p * (1 - p), 1e-16) * (1 if len(offset) == 1 else 2))


def _draws_none(booster: xgb.Booster) -> bool:
    """Return whether a booster states that every tree used all samples; one read from a file states so by default."""
    return float(_training_parameters(booster).get("subsample", 1)) == 1


def _knows_training(booster: xgb.Booster) -> bool:
    """Return whether a booster states its training parameters: one read from a file states the defaults.

    One that was trained with the defaults cannot be told from it.
    """
    copy = xgb.Booster()
    copy.load_model(booster.save_raw("ubj"))
    return _training_parameters(booster) != _training_parameters(copy)


def _training_parameters(booster: xgb.Booster) -> dict[str, str]:
    return json.loads(booster.save_config())["learner"]["gradient_booster"].get("tree_train_param", {})


def _unlike_penalty(booster: xgb.Booster, learner: dict, l2: float) -> str:
    stored = _training_parameters(booster)
    for key in ("alpha", "max_delta_step"):
        if float(stored.get(key, 0)):
            return f"{key} {float(stored[key]):g}; supported is 0, as leaf values have an L2 penalty alone"
    stated, trees = float(stored.get("lambda", 1)), learner["gradient_booster"]["model"]["trees"]
    few = trees[:: -(-len(trees) // TREES)]
    undetermined = _fits(few, 2 * l2 + 1)
    states_training = undetermined and _knows_training(booster)
    if not (stated == np.float32(l2) or (stated == 1 and not states_training)) or not _fits(few, l2):
        return (
            f"the leaf values are not those of lambda = {l2:g} (the booster says {stated:g}) without L1 penalty and "
            "max_delta_step; give the reg_lambda that it was trained with"
        )
    if undetermined and not states_training:
        return (
            f"cannot tell whether lambda = {l2:g} from the leaf values, and a booster read from a file does not say; "
            "pass the booster as it was trained, or train trees with more splits"
        )
    return ""


def _fits(trees: list[dict[str, Any]], l2: float) -> bool:
    """Return whether the leaf values may be those of λ = `l2`."""
    gaps = np.concatenate([_gaps(tree, l2) for tree in trees])
    return not len(gaps) or bool(np.quantile(gaps, 0.1) <= GAP)


def _gaps(tree: dict[str, Any], l2: float) -> np.ndarray:
    """Return the gap between each inner node's sum of gradients and that of its children, relative to their sizes.

    A node's weight is −(sum of gradients) / (sum of curvatures + λ); a leaf's value is that times the learning rate.
    The learning rate is fitted here: from those sums or, if there are too few inner nodes, from the gains of the
    splits.
    """
    left, right, curvature = (np.array(tree[key]) for key in ("left_children", "right_children", "sum_hessian"))
    leaf, inner = left < 0, np.flatnonzero(left >= 0)
    if not len(inner):
        return np.array([])
    weights = np.where(leaf, tree["split_conditions"], tree["base_weights"])
    sums = weights * (curvature + l2)
    children = np.stack([left[inner], right[inner]])
    of_leaves = np.where(leaf[children], sums[children], 0.0).sum(axis=0)
    rest = sums[inner] - np.where(leaf[children], 0.0, sums[children]).sum(axis=0)
    if len(inner) < 3:
        rate = _rate_by_gains(weights * sums, leaf, np.array(tree["loss_changes"]))
    else:
        rate = (of_leaves @ of_leaves) / (of_leaves @ rest) if of_leaves @ rest else 1.0
    size = np.abs(sums[inner]) + np.abs(sums[children] / np.where(leaf[children], rate, 1.0)).sum(axis=0)
    return np.abs(rest - of_leaves / rate) / np.maximum(size, 1e-30)


def _rate_by_gains(squares: np.ndarray, leaf: np.ndarray, gains: np.ndarray) -> float:
    """Return a tree's learning rate, from each node's (sum of gradients)² / (sum of curvatures + λ).

    The gain of a split is the increase of these from the node to its two children. The sum of all gains is therefore
    the difference between the leaves, without the learning rate, and the root.
    """
    of_leaves, expected = squares[leaf].sum(), squares[0] + gains[~leaf].sum()
    return float(np.sqrt(of_leaves / expected)) if of_leaves > 0 and expected > 0 else 1.0
