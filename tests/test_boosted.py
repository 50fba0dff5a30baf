"""Boosted trees as a linear model on their leaves: margins, products and scores against XGBoost and refits."""

import json

import numpy as np
import pytest
import torch
import xgboost as xgb
from scipy.optimize import minimize
from scipy.special import expit, softmax
from scipy.stats import spearmanr

from conftest import blobs
from datagradient.influence.leaves import best_rounds
from datagradient.influence.scores import score
from datagradient.influence.solvers import SolverError
from datagradient.metrics import measure
from datagradient.models import boosted, declared

SETTINGS = {"rounds": 12, "depth": 3, "learning_rate": 0.3, "subsample": 0.7, "columns": 0.7, "max_features": 100,
            "l2": 1.0, "max_bins": 32}  # fmt: skip
SIZES = [2, 4]  # classes
DAMPING = 0.1


def fitted(random, n_classes, n=200):
    features, labels = blobs(random, n, 4, n_classes)
    model, _ = boosted.fit(features, labels, n_classes, SETTINGS, seed=0)
    return features, labels, model


@pytest.mark.parametrize("n_classes", SIZES)
def test_leaf_values_reproduce_the_margins(random, n_classes):
    features, labels, model = fitted(random, n_classes)
    problem = boosted.problem(model, features, labels)
    ours = problem.margins(problem.theta, problem.inputs(features))
    theirs = boosted._margins(model.booster, features, model).reshape(ours.shape)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    direction = random.normal(size=len(problem.theta)) * (problem.theta != 0)
    by_library = problem.train_changes(direction)
    np.testing.assert_allclose(problem.margins(direction, problem.inputs(features)), by_library, atol=1e-5)


@pytest.mark.parametrize("n_classes", SIZES)
def test_products_and_projection_equal_autograd(random, n_classes):
    features, labels, model = fitted(random, n_classes)
    problem = boosted.problem(model, features, labels)
    nodes = problem.inputs(features)
    # One-hot leaves, column by column from the margins of unit vectors.
    design = torch.from_numpy(np.array([problem.margins(unit, nodes) for unit in np.eye(len(problem.theta))]))
    theta, target = torch.tensor(problem.theta, requires_grad=True), torch.from_numpy(labels)

    def losses(point):
        margins = torch.einsum("pnc,p->nc", design, point)
        if n_classes == 2:
            return torch.nn.functional.binary_cross_entropy_with_logits(
                margins[:, 0], target.double(), reduction="none"
            )
        return torch.nn.functional.cross_entropy(margins, target, reduction="none")

    hessian = torch.autograd.functional.hessian(
        lambda point: losses(point).mean() + problem.penalty / 2 * (point**2).sum(), theta
    ).numpy()
    vector = random.normal(size=len(problem.theta))
    np.testing.assert_allclose(problem.matvec(vector), hessian @ vector, atol=1e-6)
    gradients = torch.autograd.functional.jacobian(losses, theta).numpy()
    np.testing.assert_allclose(problem.mean_gradient(features, labels), gradients.mean(axis=0), atol=1e-6)
    direction = vector * (problem.theta != 0)
    np.testing.assert_allclose(problem.project(direction), gradients @ direction, atol=1e-5)


@pytest.mark.parametrize("n_classes", SIZES)
def test_scores_predict_refits_of_the_leaf_values(random, n_classes):
    features, labels, model = fitted(random, n_classes, n=260)
    train, held_out = np.arange(200), np.arange(200, 260)
    labels[:20] = (labels[:20] + 1) % n_classes
    model, _ = boosted.fit(features[train], labels[train], n_classes, SETTINGS, seed=0)
    problem = boosted.problem(model, features[train], labels[train])
    nodes, held_out_nodes = problem.inputs(features[train]), problem.inputs(features[held_out])

    def losses(theta, nodes, labels):
        margins = problem.margins(theta, nodes)
        logits = np.hstack([np.zeros_like(margins), margins]) if n_classes == 2 else margins
        logits = logits - logits.max(axis=1, keepdims=True)
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        residuals = np.exp(log_p) - np.eye(n_classes)[labels]
        return -log_p[np.arange(len(labels)), labels], residuals[:, 1:] if n_classes == 2 else residuals

    def refitted(weights):
        """Minimise the weighted loss, XGBoost's penalty and the damping, from the trained values on."""

        def objective(theta):
            values, residuals = losses(theta, nodes, labels[train])
            moved = theta - problem.theta
            value = (weights * values).mean() + problem.penalty / 2 * theta @ theta + DAMPING / 2 * moved @ moved
            gradient = problem.adjoint(weights[:, None] * residuals, nodes) / len(weights)
            return value, gradient + problem.penalty * theta + DAMPING * moved

        found = minimize(objective, problem.theta, jac=True, method="L-BFGS-B", options={"gtol": 1e-10, "ftol": 1e-15})
        return losses(found.x, held_out_nodes, labels[held_out])[0].mean()

    found = score(problem, features[held_out], labels[held_out], "cg", damping=DAMPING, tolerance=1e-8)
    start = refitted(np.ones(200))
    actual = [refitted(np.where(train == i, 0.0, 1.0)) - start for i in train]
    assert spearmanr(-found.influence, actual).statistic > 0.9
    slope = np.polyfit(actual, -found.influence / 200, 1)[0]
    assert slope == pytest.approx(1, abs=0.25)


def test_scores_say_something_about_refits_of_the_whole_ensemble(random):
    """Structure changes too, so that little is promised: the correlation is positive on average over seeds."""
    features, labels = blobs(random, 500, 4, 2)
    train, held_out = np.arange(200), np.arange(200, 500)
    labels[:20] = 1 - labels[:20]
    everything = {**SETTINGS, "subsample": 1.0, "columns": 1.0}

    def refit(rows):
        model, _ = boosted.fit(features[rows], labels[rows], 2, everything, seed=0)
        return model, measure(boosted.probabilities(model, features[held_out]), labels[held_out])["loss"]

    model, start = refit(train)
    problem = boosted.problem(model, features[train], labels[train])
    found = score(problem, features[held_out], labels[held_out], "cg", damping=DAMPING, tolerance=1e-6)
    groups = [np.random.default_rng(i).choice(train, 20, replace=False) for i in range(60)]
    actual = [refit(np.setdiff1d(train, group))[1] - start for group in groups]
    predicted = [-found.influence[group].sum() for group in groups]
    assert spearmanr(predicted, actual).statistic > 0.2


def imbalanced(random, n_classes, n=260):
    """Overlapping classes, the first ones smaller."""
    features, labels = blobs(random, 3 * n, 4, n_classes)
    kept = np.flatnonzero(random.random(3 * n) < 0.2 + 0.8 * labels / n_classes)[:n]
    return features[kept], labels[kept]


def by_formula(classifier, train, validation, n_classes, l2, rounds=None):
    """−g_iᵀS from one-hot leaves written again, with margins as the classifier itself gives them."""
    booster, n_margins = classifier.get_booster(), 1 if n_classes == 2 else n_classes
    leaves = [
        booster.predict(xgb.DMatrix(x), pred_leaf=True, iteration_range=(0, rounds or 0))
        for x, _ in (train, validation)
    ]
    leaves = [part.reshape(len(part), -1).astype(int) for part in leaves]
    trees = leaves[0].shape[1]
    classes = json.loads(bytes(booster.save_raw("json")))["learner"]["gradient_booster"]["model"]["tree_info"]
    width = max(part.max() for part in leaves) + 1
    jacobians = []
    for part in leaves:
        jacobian = np.zeros((len(part), n_margins, trees, width))
        for tree in range(trees):
            jacobian[np.arange(len(part)), classes[tree], tree, part[:, tree]] = 1
        jacobians.append(jacobian.reshape(len(part), n_margins, -1))
    margins = [classifier.predict(x, output_margin=True).reshape(len(x), n_margins) for x, _ in (train, validation)]
    p = [expit(m) if n_margins == 1 else softmax(m, axis=1) for m in margins]
    targets = [y[:, None] if n_margins == 1 else np.eye(n_classes)[y] for _, y in (train, validation)]
    middle = [[q * (1 - q)] if n_margins == 1 else np.diag(q) - np.outer(q, q) for q in p[0]]
    n = len(targets[0])
    hessian = np.einsum("nap,nab,nbq->pq", jacobians[0], np.reshape(middle, (n, n_margins, n_margins)), jacobians[0],
                        optimize=True) / n + (l2 / n + DAMPING) * np.eye(trees * width)  # fmt: skip
    gradient = np.einsum("na,nap->p", p[1] - targets[1], jacobians[1]) / len(targets[1])
    return -np.einsum("na,nap,p->n", p[0] - targets[0], jacobians[0], np.linalg.solve(hessian, gradient))


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"base_score": 0.2},
        {"num_parallel_tree": 3, "subsample": 0.7, "colsample_bynode": 0.6},
        {"early_stopping_rounds": 2, "learning_rate": 1.0},
        {"reg_lambda": 4.0, "gamma": 0.2},
        {"monotone_constraints": (1, 0, 0, 0)},
    ],
)
def test_boosters_of_xgboosts_own_classifier_equal_the_formula(random, n_classes, options):
    features, labels = imbalanced(random, n_classes)
    train, validation = (features[:180], labels[:180]), (features[180:], labels[180:])
    if "base_score" in options and n_classes > 2:
        options = {"base_score": [0.2, -0.4, 0.9]}
    classifier = xgb.XGBClassifier(**{"n_estimators": 12, "max_depth": 3, "n_jobs": 1, **options})
    stops = "early_stopping_rounds" in options
    classifier.fit(*train, **({"eval_set": [validation], "verbose": False} if stops else {}))
    booster, l2 = classifier.get_booster(), options.get("reg_lambda", 1.0)
    rounds = booster.best_iteration + 1 if stops else None
    assert not stops or rounds < booster.num_boosted_rounds()
    model = boosted.BoostedModel(booster, np.arange(4), n_classes, l2)
    found = score(boosted.problem(model, *train), *validation, damping=DAMPING, tolerance=1e-8)
    expected = by_formula(classifier, train, validation, n_classes, l2, rounds)
    np.testing.assert_allclose(found.influence, expected, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_allclose(boosted.probabilities(model, features), classifier.predict_proba(features), atol=1e-6)


def test_boosters_without_an_early_stop_are_used_as_they_are(random):
    _, _, model = fitted(random, 2)
    assert best_rounds(model.booster) is model.booster


def reloaded(booster):
    copy = xgb.Booster()
    copy.load_model(bytearray(booster.save_raw("ubj")))
    return copy


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"booster": "dart", "rate_drop": 0.5}, "a booster of kind dart; supported is gbtree"),
        ({"booster": "gblinear"}, "a booster of kind gblinear; supported is gbtree"),
        ({"objective": "binary:hinge"}, "objective binary:hinge; supported are binary:logistic"),
        ({"objective": "reg:squarederror"}, "objective reg:squarederror; supported are"),
        ({"scale_pos_weight": 3}, "scale_pos_weight 3; supported is 1"),
        ({"reg_alpha": 0.5}, "alpha 0.5; supported is 0|not those of lambda"),
        ({"max_delta_step": 0.1}, "max_delta_step 0.1; supported is 0|not those of lambda"),
        (
            {"reg_lambda": 1.5},
            "the leaf values are not those of lambda = 1 .*give the reg_lambda that it was trained with",
        ),
        ({"n_estimators": 0}, "the booster has no tree"),
    ],
)
def test_boosters_of_another_objective_are_refused(random, options, message, loaded):
    features, labels = imbalanced(random, 2)
    parameters = {"n_estimators": 12, "max_depth": 3, "objective": "binary:logistic", **options}
    if options.get("booster") == "gblinear":
        del parameters["max_depth"]
    booster = xgb.train(parameters, xgb.DMatrix(features, labels), parameters.pop("n_estimators"))
    booster.set_attr(best_iteration="3")
    model = boosted.BoostedModel(reloaded(booster) if loaded else booster, np.arange(4), 2, 1.0)
    with pytest.raises(SolverError, match=message):
        boosted.problem(model, features, labels)


def stumps(features, labels, n_classes, *, loaded=False, rounds=8, weight=None, base_margin=None, **options):
    """A booster of one split a tree; `n_classes` as `boosted.problem` needs it."""
    objective = {"objective": "binary:logistic"} if n_classes == 2 else {
        "objective": "multi:softprob", "num_class": n_classes}  # fmt: skip
    data = xgb.DMatrix(features, labels, weight=weight, base_margin=base_margin)
    booster = xgb.train({"max_depth": 1, **objective, **options}, data, rounds)
    return reloaded(booster) if loaded else booster


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("options", [{}, {"rounds": 1}, {"max_depth": 2}, {"learning_rate": 0.07, "gamma": 0.5}])
def test_trees_of_one_or_two_splits_tell_their_penalty(random, loaded, n_classes, options):
    features, labels = imbalanced(random, n_classes)
    booster = stumps(features, labels, n_classes, loaded=loaded, **{"lambda": 50, **options})
    right, wrong, near = (boosted.BoostedModel(booster, np.arange(4), n_classes, l2) for l2 in (50, 1, 45))
    problem = boosted.problem(right, features, labels)
    assert score(problem, features, labels, damping=DAMPING).record.status == "converged"
    for other in (wrong, near):
        with pytest.raises(
            SolverError, match=r"not those of lambda = (1|45) .*give the reg_lambda that it was trained with"
        ):
            boosted.problem(other, features, labels)


def test_a_penalty_that_no_tree_tells_is_refused_unless_the_booster_does(random):
    features, labels = imbalanced(random, 2)
    booster = stumps(features, labels, 2, gamma=1e6)  # no split is worth that
    model = boosted.BoostedModel(booster, np.arange(4), 2, 1.0)
    boosted.problem(model, features, labels)
    for read, l2, message in (
        (reloaded(booster), 1.0, "cannot tell whether lambda = 1 .*pass the booster as it was trained"),
        (booster, 2.0, r"not those of lambda = 2 \(the booster says 1\)"),
    ):
        with pytest.raises(SolverError, match=message):
            boosted.problem(boosted.BoostedModel(read, np.arange(4), 2, l2), features, labels)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(
    ("options", "loaded"),
    [
        ({"weight": 9}, True),
        ({"weight": 9, "subsample": 0.8}, True),
        ({"weight": 0.5}, False),
        ({"base_margin": 3.0}, False),
    ],
)
def test_weights_of_samples_and_margins_to_start_from_are_refused(random, n_classes, options, loaded):
    features, labels = imbalanced(random, n_classes)
    if "weight" in options:
        options = {**options, "weight": np.where(labels == 0, options["weight"], 1.0)}
    else:
        options = {"base_margin": options["base_margin"] * random.normal(size=(len(labels), max(1, n_classes % 2 * 3)))}
    booster = stumps(features, labels, n_classes, loaded=loaded, **options)
    problem = boosted.problem(boosted.BoostedModel(booster, np.arange(4), n_classes, 1.0), features, labels)
    with pytest.raises(
        SolverError,
        match=r"first tree was trained on .* times the curvature .*the weights of sam",
    ):
        score(problem, features, labels, damping=DAMPING)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("loaded", [False, True])
def test_samples_that_each_tree_draws_are_represented_and_fewer_samples_refused(random, n_classes, loaded):
    features, labels = imbalanced(random, n_classes)
    booster = stumps(features, labels, n_classes, loaded=loaded, subsample=0.6)
    model = boosted.BoostedModel(booster, np.arange(4), n_classes, 1.0)
    problem = boosted.problem(model, features, labels)
    assert score(problem, features, labels, damping=DAMPING).record.status == "converged"
    part = boosted.problem(model, features[:100], labels[:100])
    part.project(np.ones(len(part.theta)))  # a shard, of the right samples' part
    with pytest.raises(SolverError, match="of the 100 training samples; pass those that the booster was trained on"):
        score(part, features, labels, damping=DAMPING)


@pytest.mark.parametrize("loaded", [False, True])
def test_boosters_that_do_not_say_how_they_were_trained_are_compared_with_their_samples(random, loaded):
    """Those read from a file, and those trained with XGBoost's defaults."""
    features, labels = blobs(random, 300, 4, 3)
    booster = xgb.XGBClassifier(n_estimators=5).fit(features, labels).get_booster()
    if loaded:
        booster = xgb.Booster(model_file=booster.save_raw("ubj"))
    model = boosted.BoostedModel(booster, np.arange(4), 3, 1.0)
    boosted.problem(model, features, labels).check()
    for others, message in (((features, np.roll(labels, 1)), "other labels"), ((features[::-1], labels), "other")):
        with pytest.raises(SolverError, match=message):
            boosted.problem(model, *others).check()


@pytest.mark.parametrize("loaded", [False, True])
def test_leaves_that_monotone_constraints_clip_are_no_other_labels(random, loaded):
    features, labels = blobs(random, 300, 4, 2)
    constrained = xgb.XGBClassifier(n_estimators=5, max_depth=3, monotone_constraints=(1, 1, 1, 1))
    booster = constrained.fit(features, labels).get_booster()
    if loaded:
        booster = xgb.Booster(model_file=booster.save_raw("ubj"))
    model = boosted.BoostedModel(booster, np.arange(4), 2, 1.0)
    result = score(boosted.problem(model, features, labels), features, labels, damping=DAMPING)
    assert result.record.status == "converged"
    free = xgb.XGBClassifier(n_estimators=5, max_depth=3).fit(features, labels).get_booster()
    assert free.get_dump() != booster.get_dump()  # something was clipped
    if loaded:
        with pytest.raises(SolverError, match="other labels"):
            boosted.problem(model, features, np.roll(labels, 1)).check()


def test_a_problem_can_be_checked_again_after_a_projection(random):
    features, labels = blobs(random, 200, 4, 2)
    settings = {**declared("boosted").defaults, "rounds": 5, "subsample": 1.0}
    model, _ = boosted.fit(features, labels, 2, settings, 0)
    problem = boosted.problem(model, features, labels)
    first = score(problem, features, labels, damping=DAMPING).influence
    np.testing.assert_array_equal(score(problem, features, labels, damping=DAMPING).influence, first)


def test_boosters_of_other_classes_categories_and_leaves_are_refused(random):
    features, labels = imbalanced(random, 3)
    several = xgb.XGBClassifier(n_estimators=2).fit(features, labels).get_booster()
    with pytest.raises(SolverError, match="3 margins by multi:softprob for 2 classes; pass the booster's own number"):
        boosted.problem(boosted.BoostedModel(several, np.arange(4), 2, 1.0), features, labels.clip(max=1))
    vectors = xgb.XGBClassifier(n_estimators=2, multi_strategy="multi_output_tree", tree_method="hist")
    vectors = vectors.fit(features, labels).get_booster()
    with pytest.raises(SolverError, match="leaves of several values; supported is multi_strategy one_output_per_tree"):
        boosted.problem(boosted.BoostedModel(vectors, np.arange(4), 3, 1.0), features, labels)
    data = xgb.DMatrix(np.digitize(features, [-1, 0, 1]), labels > 0, feature_types=["c"] * 4, enable_categorical=True)
    words = xgb.train({"objective": "binary:logistic", "max_cat_to_onehot": 1}, data, 2)
    with pytest.raises(SolverError, match="splits by categorical features; encode them as numbers"):
        boosted.problem(boosted.BoostedModel(words, np.arange(4), 2, 1.0), features, (labels > 0).astype(int))


def test_too_few_features_and_labels_that_are_no_classes_are_refused(random):
    features, labels, model = fitted(random, 2)
    problem = boosted.problem(model, features, labels)
    with pytest.raises(SolverError, match="samples have 3 features, and the booster takes number 3"):
        score(problem, features[:, :3], labels, damping=DAMPING)
    with pytest.raises(SolverError, match="training label 2 at sample 1 is no class"):
        boosted.problem(model, features, labels + 1)
    with pytest.raises(SolverError, match="validation label -1 at sample 0 is no class"):
        score(problem, features, 2 * labels - 1, damping=DAMPING)


@pytest.mark.parametrize("n_classes", SIZES)
def test_margins_that_are_not_the_sums_of_leaves_are_refused(random, n_classes):
    features, labels, model = fitted(random, n_classes)
    problem = boosted.problem(model, features, labels)
    problem.check()
    margins_of = problem._margins_of
    problem._margins_of = lambda *arguments: margins_of(*arguments) + 0.1
    with pytest.raises(SolverError, match=r"the margins of the booster are not the sums of its leaves: .* by 0\.1"):
        problem.check()
    with pytest.raises(SolverError, match="the margins along a direction are not the sums"):
        problem.project(random.normal(size=len(problem.theta)))


def test_leaves_without_penalty_and_damping_name_both_in_the_remedy(random):
    features, labels = imbalanced(random, 2)
    booster = stumps(features, labels, 2, **{"lambda": 0})
    problem = boosted.problem(boosted.BoostedModel(booster, np.arange(4), 2, 0.0), features, labels)
    with pytest.raises(SolverError, match="damping 0: raise it, or train with l2 > 0"):
        score(problem, features, labels, damping=0.0)
