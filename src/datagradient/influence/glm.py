"""Influence problem of models that are linear in their parameters, in closed form and float64.

With p = softmax(W x + b) (or the logistic function of one margin), a sample's loss gradient is
∇_W ℓ = (p − y) xᵀ and ∇_b ℓ = p − y, and the Hessian of the mean loss takes (V, c) to
(1/n) Σ_i M_i (V x_i + c) [x_iᵀ, 1] with M_i = diag(p_i) − p_i p_iᵀ.
"""

from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import expit, softmax

from datagradient.influence.solvers import Matvec


class LinearProblem:
    """Gradients and Hessian products of a trained logistic model on its training set.

    A parameter vector θ is the weights row by row, then the bias: length rows · (features + 1),
    with one row for two classes and otherwise one row a class. The training objective is the mean
    loss plus (l2 / 2)·‖weights‖²; its Hessian is exact.

    Args:
        features: training features (n, d), float64, dense or CSR.
        labels: training labels (n,) as the model was trained on them.
        weights: (rows, d).
        bias: (rows,).
        l2: penalty on the weights; the bias has none.
    """

    def __init__(self, features: Any, labels: np.ndarray, weights: np.ndarray, bias: np.ndarray, l2: float):
        self.features, self.labels, self.l2 = features, labels, l2
        self.weights, self.bias = weights, bias
        self.theta = self._join(weights, bias)

    @cached_property
    def train_probabilities(self) -> np.ndarray:
        """Predicted probabilities of the training samples (n, rows)."""
        return self._probabilities(self.features)

    @cached_property
    def train_residuals(self) -> np.ndarray:
        """p − y of the training samples (n, rows), the derivative of each loss by its margins."""
        return self.train_probabilities - self._targets(self.labels)

    def mean_gradient(self, features: Any, labels: np.ndarray) -> np.ndarray:
        """Return the gradient of the mean loss (without penalty) on any samples, shape of θ."""
        residuals = self._probabilities(features) - self._targets(labels)
        return self._join(_transposed_product(residuals, features), residuals.sum(axis=0)) / len(labels)

    def matvec(self, vector: np.ndarray) -> np.ndarray:
        """Return H·vector for the Hessian H of the training objective, penalty included, no damping."""
        weights, bias = self._parts(vector)
        change = self.features @ weights.T + bias
        p = self.train_probabilities
        if p.shape[1] == 1:
            change *= p * (1 - p)
        else:
            change = p * (change - (p * change).sum(axis=1, keepdims=True))
        product = self._join(_transposed_product(change, self.features), change.sum(axis=0)) / len(self.labels)
        product[: weights.size] += self.l2 * weights.ravel()
        return product

    def preconditioner(self, damping: float) -> Matvec | None:
        """Return the product with (A ⊗ B + (l2 + δ)I)⁻¹ for dense features, None for sparse ones.

        B is the second moment of the features and the constant, weighted by each sample's total
        curvature, and A the mean curvature of the margins scaled to match: exact for two classes up to
        the penalty on the bias, and close enough for more that CG needs a tenth of the steps.
        """
        if hasattr(self.features, "tocsr"):
            return None
        p, n = self.train_probabilities, len(self.labels)
        curvature = (p * (1 - p)).sum(axis=1, keepdims=True)
        features = np.hstack([self.features, np.ones((n, 1))])
        moments = (features * curvature).T @ features / n
        margins = np.ones((1, 1)) if p.shape[1] == 1 else (np.diag(p.sum(axis=0)) - p.T @ p) / curvature.sum()
        (a, left), (b, right) = np.linalg.eigh(margins), np.linalg.eigh(moments)
        # Rounding may leave tiny negative eigenvalues; the floor keeps the inverse positive definite.
        scale = 1 / np.maximum(np.outer(a, b) + self.l2 + damping, 1e-12)

        def product(vector: np.ndarray) -> np.ndarray:
            weights, bias = self._parts(vector)
            solved = left @ (scale * (left.T @ np.hstack([weights, bias[:, None]]) @ right)) @ right.T
            return self._join(solved[:, :-1], solved[:, -1])

        return product

    def project(self, direction: np.ndarray) -> np.ndarray:
        """Return g_iᵀ·direction for every training sample's loss gradient g_i: shape (n,)."""
        weights, bias = self._parts(direction)
        return ((self.features @ weights.T + bias) * self.train_residuals).sum(axis=1)

    def _probabilities(self, features: Any) -> np.ndarray:
        margins = features @ self.weights.T + self.bias
        return expit(margins) if margins.shape[1] == 1 else softmax(margins, axis=1)

    def _targets(self, labels: np.ndarray) -> np.ndarray:
        if len(self.bias) == 1:
            return labels[:, None].astype(np.float64)
        return np.eye(len(self.bias))[labels]

    def _parts(self, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return vector[: self.weights.size].reshape(self.weights.shape), vector[self.weights.size :]

    @staticmethod
    def _join(weights: np.ndarray, bias: np.ndarray) -> np.ndarray:
        return np.concatenate([weights.ravel(), bias])


def _transposed_product(rows: np.ndarray, features: Any) -> np.ndarray:
    """Return rowsᵀ·features (rows, d) with the features, which may be sparse, kept as they lie."""
    return (features.T @ rows).T
