"""Closed-form gradients and Hessian products against finite differences and torch's autograd in float64."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from conftest import blobs
from datagradient.influence.glm import GeneralisedLinearProblem, LinearProblem
from datagradient.influence.solvers import SolverError

SIZES = [(2, 1), (3, 3), (5, 5)]  # classes, rows of the weights


def make(random, n_classes, rows, sparse=False, n=37, d=4, l2=0.05):
    features, labels = blobs(random, n, d, n_classes)
    if sparse:
        features = csr_matrix(features * (random.random(features.shape) < 0.5))
    weights, bias = random.normal(size=(rows, d)), random.normal(size=rows)
    return LinearProblem(features, labels, weights, bias, l2)


def torch_loss(problem, theta, features, labels, penalty=True):
    """The training objective, written again with torch's own losses."""
    rows, d = problem.shape
    weights, bias = theta[: rows * d].reshape(rows, d), theta[rows * d :]
    dense = torch.as_tensor(features.toarray() if hasattr(features, "toarray") else features)
    margins, target = dense @ weights.T + bias, torch.as_tensor(labels)
    if rows == 1:
        loss = torch.nn.functional.binary_cross_entropy_with_logits(margins[:, 0], target.double())
    else:
        loss = torch.nn.functional.cross_entropy(margins, target)
    return loss + penalty * problem.l2 / 2 * (weights**2).sum()


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(("n_classes", "rows"), SIZES)
def test_gradient_and_hessian_products_equal_autograd(random, n_classes, rows, sparse):
    problem = make(random, n_classes, rows, sparse)
    theta = torch.tensor(problem.theta, requires_grad=True)

    def objective(point, penalty=True):
        return torch_loss(problem, point, problem.features, problem.labels, penalty)

    (gradient,) = torch.autograd.grad(objective(theta, penalty=False), theta)
    np.testing.assert_allclose(problem.mean_gradient(problem.features, problem.labels), gradient, atol=1e-12)
    hessian = torch.autograd.functional.hessian(objective, theta).numpy()
    for vector in random.normal(size=(3, len(problem.theta))):
        np.testing.assert_allclose(problem.matvec(vector), hessian @ vector, atol=1e-12)


@pytest.mark.parametrize(("n_classes", "rows"), SIZES)
def test_hessian_products_equal_finite_differences_of_the_gradient(random, n_classes, rows):
    problem = make(random, n_classes, rows)
    vector, step = random.normal(size=len(problem.theta)), 1e-5

    def gradient(theta):
        weights, bias = problem._parts(theta)
        moved = LinearProblem(problem.features, problem.labels, weights, bias, problem.l2)
        penalty = np.concatenate([problem.l2 * weights.ravel(), np.zeros(len(bias))])
        return moved.mean_gradient(problem.features, problem.labels) + penalty

    difference = (gradient(problem.theta + step * vector) - gradient(problem.theta - step * vector)) / (2 * step)
    np.testing.assert_allclose(problem.matvec(vector), difference, atol=1e-8)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(("n_classes", "rows"), SIZES)
def test_projection_equals_the_dot_product_with_every_samples_gradient(random, n_classes, rows, sparse):
    problem = make(random, n_classes, rows, sparse)
    direction = random.normal(size=len(problem.theta))
    of_penalty = problem.penalty * problem.theta
    one_by_one = [
        (problem.mean_gradient(problem.features[[i]], problem.labels[[i]]) + of_penalty) @ direction
        for i in range(len(problem.labels))
    ]
    np.testing.assert_allclose(problem.project(direction), one_by_one, atol=1e-12)


@pytest.mark.parametrize("batch", [1, 5, 10, 36, 37, 50])
def test_gradient_is_the_mean_over_samples_whatever_the_batch_size(random, batch):
    problem = make(random, 3, 3)
    n = len(problem.labels)  # 37: none of the batch sizes but 1 and n divides it
    parts = [slice(start, start + batch) for start in range(0, n, batch)]
    weighted = sum(
        problem.mean_gradient(problem.features[part], problem.labels[part]) * len(problem.labels[part])
        for part in parts
    )
    np.testing.assert_allclose(weighted / n, problem.mean_gradient(problem.features, problem.labels), atol=1e-14)


def test_preconditioner_inverts_the_binary_hessian(random):
    problem = make(random, 2, 1, l2=0.0)
    precondition = problem.preconditioner(damping=0.1)
    vector = random.normal(size=len(problem.theta))
    np.testing.assert_allclose(precondition(problem.matvec(vector) + 0.1 * vector), vector, atol=1e-10)


def test_preconditioner_is_symmetric_positive_definite(random):
    problem = make(random, 4, 4)
    precondition = problem.preconditioner(damping=0.0)
    matrix = np.array([precondition(unit) for unit in np.eye(len(problem.theta))])
    np.testing.assert_allclose(matrix, matrix.T, rtol=1e-6, atol=1e-6 * np.abs(matrix).max())
    assert np.linalg.eigvalsh((matrix + matrix.T) / 2).min() > 0


def test_sparse_features_have_no_dense_preconditioner(random):
    assert make(random, 3, 3, sparse=True).preconditioner(damping=0.0) is None


@pytest.mark.parametrize(("n_classes", "rows"), SIZES)
def test_gradients_that_are_not_of_the_mean_loss_are_refused(random, n_classes, rows):
    problem = make(random, n_classes, rows)
    GeneralisedLinearProblem.check(problem)
    adjoint = problem.adjoint
    problem.adjoint = lambda residuals, inputs: 1.01 * adjoint(residuals, inputs)
    with pytest.raises(SolverError, match=r"the loss changes by .* where its gradient says .*own objective"):
        GeneralisedLinearProblem.check(problem)
