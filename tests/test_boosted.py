"""Boosted trees as a linear model on their leaves: margins, products and scores against XGBoost and refits."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.stats import spearmanr

from conftest import blobs
from datagradient.influence.scores import score
from datagradient.metrics import measure
from datagradient.models import boosted

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
