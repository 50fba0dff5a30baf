"""Influence by label: a column is what a problem says whose samples all have that label, and what relabelling does."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from torch import nn

from conftest import blobs
from datagradient.influence.glm import LinearProblem
from datagradient.influence.last_layer import LastLayerProblem
from datagradient.influence.network import NetworkProblem
from datagradient.influence.scores import influence_along, influence_by_label, score
from datagradient.influence.solvers import SolverError
from datagradient.metrics import measure
from datagradient.models import boosted, logistic

N = 37
ROWS = np.arange(0, N, 3)  # that curvature is averaged over: projections do not depend on it


def check(make, labels, n_classes, direction, exact=1e-12):
    """Compare with problems that `make` makes of other labels, by nothing but their `project`."""
    problem = make(labels)
    found = influence_by_label(problem, direction)
    assert found.shape == (len(labels), n_classes)
    for label in range(n_classes):
        alike = make(np.full(len(labels), label))
        np.testing.assert_allclose(found[:, label], -alike.project(direction), rtol=0, atol=exact)
    own = found[np.arange(len(labels)), labels]
    np.testing.assert_allclose(own, influence_along(problem, direction), rtol=0, atol=exact)
    assert np.ptp(found, axis=1).max() > 0.1  # the label matters


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("with_weights", [True, False])
@pytest.mark.parametrize("rows", [None, ROWS])
@pytest.mark.parametrize(("n_classes", "margins"), [(2, 1), (2, 2), (3, 3), (5, 5)])
def test_columns_of_logistic_regression(random, n_classes, margins, rows, with_weights, shared):
    features, labels = blobs(random, N, 4, n_classes)
    features = csr_matrix(features) if margins == 3 else features
    model = random.normal(size=(margins, 4)), random.normal(size=margins)
    weights = random.uniform(0.5, 2, size=N) if with_weights else None

    def make(given):
        return LinearProblem(features, given, *model, 0.05, rows, weights, shared)

    check(make, labels, n_classes, random.normal(size=margins * 5))


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("rows", [None, ROWS])
def test_columns_of_boosted_trees(random, n_classes, rows):
    features, labels = blobs(random, 200, 4, n_classes)
    settings = {"rounds": 8, "depth": 3, "learning_rate": 0.3, "subsample": 0.7, "columns": 0.7, "max_features": 100,
                "l2": 1.0, "max_bins": 32}  # fmt: skip
    model, _ = boosted.fit(features, labels, n_classes, settings, seed=0)

    def make(given):
        return boosted.problem(model, features, given, rows)

    theta = make(labels).theta
    check(make, labels, n_classes, random.normal(size=len(theta)) * (theta != 0))  # inner nodes have no value


def network_of(outputs):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, outputs)).double()


@pytest.mark.parametrize("rows", [None, ROWS])
@pytest.mark.parametrize("with_weights", [True, False])
@pytest.mark.parametrize(("n_classes", "outputs"), [(2, 1), (2, 2), (3, 3)])
@pytest.mark.parametrize("kind", [NetworkProblem, LastLayerProblem])
def test_columns_of_networks_with_a_softmax_and_with_one_logit(random, kind, n_classes, outputs, with_weights, rows):
    inputs, labels = blobs(random, N, 4, n_classes)
    network = network_of(outputs)
    weights = random.uniform(0.5, 2, size=N) if with_weights else None

    def make(given):
        return kind(network, torch.from_numpy, inputs, given, rows, batch_size=7, weights=weights)

    check(make, labels, n_classes, random.normal(size=len(make(labels).mean_gradient(inputs, labels))))


@pytest.mark.parametrize("loss", ["squared_error", lambda outputs, labels: nn.functional.cross_entropy(
    outputs, labels.long(), reduction="none")], ids=["squared_error", "of the caller"])  # fmt: skip
def test_a_loss_that_is_no_cross_entropy_is_refused(random, loss):
    inputs, labels = blobs(random, N, 4, 3)
    targets = np.eye(3)[labels] if loss == "squared_error" else labels
    problem = NetworkProblem(network_of(3), torch.from_numpy, inputs, targets, loss=loss)
    direction = problem.mean_gradient(inputs, targets)
    influence_along(problem, direction)
    with pytest.raises(SolverError, match="influence by label is for cross-entropy"):
        influence_by_label(problem, direction)


def test_what_is_not_finite_is_refused_with_the_sample(random):
    features, labels = blobs(random, N, 4, 3)
    features[5] = 1e200
    problem = LinearProblem(features, labels, np.zeros((3, 4)), np.zeros(3), 0.05)
    with pytest.raises(SolverError, match="influence of training sample 5 is not finite"), np.errstate(all="ignore"):
        influence_by_label(problem, np.full(15, 1e200))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_difference_of_two_columns_is_what_relabelling_does(random, n_classes):
    settings = {"l2": 0.05, "tolerance": 1e-9, "max_iterations": 10_000}
    features, labels = blobs(random, 480, 4, n_classes)
    train, held = np.arange(400), np.arange(400, 480)

    def refit(given):
        model, _ = logistic.fit(features[train], given, n_classes, settings, seed=0)
        return model, measure(logistic.probabilities(model, features[held]), labels[held])["loss"]

    model, loss = refit(labels[train])
    problem = logistic.problem(model, features[train], labels[train])
    solution = score(problem, features[held], labels[held], tolerance=1e-10).direction.solution
    influence = influence_by_label(problem, solution)
    predicted, actual = [], []
    for i in range(0, 400, 10):
        given = labels[train].copy()
        given[i] = (given[i] + 1) % n_classes
        predicted.append((influence[i, given[i]] - influence[i, labels[i]]) / 400)
        actual.append(refit(given)[1] - loss)
    assert np.corrcoef(predicted, actual)[0, 1] > 0.99
    assert np.polyfit(predicted, actual, 1)[0] == pytest.approx(1, abs=0.1)
