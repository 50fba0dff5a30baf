"""Influence problems of models that are linear in their parameters, in closed form and float64.

With margins m_i = J_i θ + offset, p_i = softmax(m_i) (or the logistic function of one margin) and one-hot labels y_i,
a sample's loss gradient is J_iᵀ(p_i − y_i), and the Hessian of the mean loss maps a vector s to
(1/n) Σ_i J_iᵀ M_i J_i s with M_i = diag(p_i) − p_i p_iᵀ.
"""

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import expit, logsumexp, softmax

from datagradient.influence.labels import class_numbers, count
from datagradient.influence.solvers import Matvec, SolverError
from datagradient.seeds import generator

ROWS = 2000  # rows in one product of dense features; shards of a training set begin at multiples of it
CHECKED = 64  # number of samples on which a problem is compared with its model
STEP = 1e-4  # step of the finite difference, in units of the margins
# The gradient at a minimum is at most this share of the samples' gradients (root mean square), or its largest entry is
# at most scikit-learn's default tolerance. Our own fits stay below a tenth of both.
MINIMUM, MINIMUM_BY_ROOT, TOLERANCE = 1e-2, 0.1, 1e-4
PINNED = 1e-8  # largest share for the gradient by a weight of exactly 0; at the minimum of an L2 penalty it is 0
PRECONDITIONED = 2000  # least number of samples that the preconditioner for several classes is averaged over
SCALED = 500  # number of samples on which the usual size of a sample's gradient is measured


class GeneralisedLinearProblem(ABC):
    """Gradients and Hessian products of a trained model on its training set; subclasses define J.

    The training objective is the mean of the samples' weighted losses plus ½ Σ_j penalty_j θ_j². Its Hessian is exact
    for the samples that it is averaged over.

    Args:
        features: training samples, as the model takes them.
        labels: training labels (n,) as the model was trained on them, 0 … classes − 1.
        theta: the trained parameters.
        penalty: one value for each parameter, or one number for all.
        rows: the training samples that H is averaged over; None for all.
        n_margins: 1 for two classes, otherwise one per class.
        offset: added to the margins of every sample, (n_margins,) or one number.
        weights: (n,) factors of the training samples' losses; None for 1.

    Raises:
        SolverError: a label is not a class of the model, or a parameter is not finite.
    """

    def __init__(
        self,
        features: Any,
        labels: np.ndarray,
        theta: np.ndarray,
        penalty: np.ndarray | float,
        rows: np.ndarray | None,
        n_margins: int,
        offset: np.ndarray | float = 0.0,
        weights: np.ndarray | None = None,
    ):
        self.features, self.theta, self.penalty, self.rows, self.weights = features, theta, penalty, rows, weights
        self.n_margins, self.offset, self.n_classes = n_margins, offset, max(n_margins, 2)
        self.labels = self.class_numbers(labels, count(features), "training")
        if not np.isfinite(theta).all():
            raise SolverError(
                f"parameter {int(np.argmin(np.isfinite(theta)))} of the model is not finite: fit it again"
            )

    @abstractmethod
    def inputs(self, features: Any) -> Any:
        """Return samples in the form that `margins` and `adjoint` take."""

    @abstractmethod
    def margins(self, theta: np.ndarray, inputs: Any) -> np.ndarray:
        """Return J_i·theta of every sample: (n, 1) for two classes, otherwise (n, classes)."""

    @abstractmethod
    def adjoint(self, residuals: np.ndarray, inputs: Any) -> np.ndarray:
        """Return Σ_i J_iᵀ·residuals_i, shape of θ."""

    def probabilities(self, theta: np.ndarray, inputs: Any) -> np.ndarray:
        """Return the predicted probabilities for the parameters `theta`, in the shape of the margins."""
        return probabilities_of(self.margins(theta, inputs) + self.offset)

    def train_changes(self, direction: np.ndarray) -> np.ndarray:
        """Return J_i·direction of every training sample."""
        return self.margins(direction, self._train_inputs)

    @cached_property
    def train_probabilities(self) -> np.ndarray:
        """Predicted probabilities of every training sample, in the shape of the margins."""
        return self.curvature_probabilities if self.rows is None else self.probabilities(self.theta, self._train_inputs)

    @property
    def _train_inputs(self) -> Any:
        return self.curvature_inputs if self.rows is None else self.inputs(self.features)

    @cached_property
    def curvature_inputs(self) -> Any:
        """The training samples that H is averaged over, in the form that `margins` takes."""
        return self.inputs(self.features if self.rows is None else self.features[self.rows])

    @cached_property
    def curvature_probabilities(self) -> np.ndarray:
        """Predicted probabilities of these samples, in the shape of the margins."""
        return self.probabilities(self.theta, self.curvature_inputs)

    def check(self) -> None:
        """Check by a finite difference on a few samples that the gradient is that of the mean loss.

        Raises:
            SolverError: the finite difference and the gradient disagree.
        """
        inputs, labels = self.few_inputs, self.labels[: count(self.few_inputs)]
        weights = self._weights_of(slice(len(labels)))
        direction = generator(0, "check").standard_normal(len(self.theta))
        size = np.sqrt(np.mean(self.margins(direction, inputs) ** 2))
        if size == 0:
            return
        direction = direction / size
        ahead, behind = (
            mean_loss(self.margins(self.theta + step * direction, inputs) + self.offset, labels, weights)
            for step in (STEP, -STEP)
        )
        difference, slope = (ahead - behind) / (2 * STEP), self._gradient(inputs, labels, weights) @ direction
        if not abs(difference - slope) <= 1e-5:
            raise SolverError(
                f"the loss changes by {difference:.6g} along a direction where its gradient says {slope:.6g}: "
                "the problem is not that of its own objective"
            )

    @cached_property
    def few_inputs(self) -> Any:
        """The first training samples, in the form that `margins` takes."""
        return self.inputs(self.features[:CHECKED])

    def mean_gradient(self, features: Any, labels: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """Return the gradient of the mean loss (without penalty) on any samples, shape of θ.

        Args:
            features: m samples.
            labels: (m,).
            weights: (m,) factors of their losses; None for 1.

        Raises:
            SolverError: a label is not a class of the model.
        """
        labels = self.class_numbers(labels, count(features), "validation")
        return self._gradient(self.inputs(features), labels, weights)

    def _gradient(self, inputs: Any, labels: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        residuals = residuals_of(self.probabilities(self.theta, inputs), labels)
        return self.adjoint(weighted(residuals, weights), inputs) / len(labels)

    def _weights_of(self, rows: Any) -> np.ndarray | None:
        return None if self.weights is None or rows is None else self.weights[rows]

    @property
    def curvature_weights(self) -> np.ndarray | None:
        """Weights of the samples that H is averaged over; None for 1."""
        return self.weights if self.rows is None else self._weights_of(self.rows)

    @property
    def train_residuals(self) -> np.ndarray:
        """The derivative of every training sample's weighted loss by its margins."""
        return weighted(residuals_of(self.train_probabilities, self.labels), self.weights)

    def class_numbers(self, labels: Any, n: int, part: str) -> np.ndarray:
        """Return the labels of n samples of a part (``"training"``, ``"validation"``) as numbers, or refuse them."""
        return class_numbers(labels, n, self.n_classes, part)

    def matvec(self, vector: np.ndarray) -> np.ndarray:
        """Return H·vector for the Hessian H of the training objective, with the penalty but without damping."""
        return self._product(vector, self.curvature_inputs, self.curvature_probabilities, self.curvature_weights)

    def sampled(self, rows: np.ndarray) -> Matvec:
        """Return the function that multiplies a vector by the H of the given training samples."""
        inputs = self.inputs(self.features[rows])
        probabilities, weights = self.probabilities(self.theta, inputs), self._weights_of(rows)
        return lambda vector: self._product(vector, inputs, probabilities, weights)

    def _product(self, vector: np.ndarray, inputs: Any, p: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        change = self.margins(vector, inputs)
        if p.shape[1] == 1:
            change *= p * (1 - p)
        else:
            change = p * (change - (p * change).sum(axis=1, keepdims=True))
        return self.adjoint(weighted(change, weights), inputs) / len(p) + self.penalty * vector

    def project(self, direction: np.ndarray) -> np.ndarray:
        """Return g_iᵀ·direction for every training sample's loss gradient g_i: shape (n,)."""
        return (self.train_changes(direction) * self.train_residuals).sum(axis=1)

    def project_labels(self, direction: np.ndarray) -> np.ndarray:
        """Return g_iᵀ·direction of every training sample for each label that it could have: (n, classes)."""
        changes, p = self.train_changes(direction), self.train_probabilities
        if p.shape[1] == 1:
            changes, p = np.hstack([-changes, changes]) / 2, np.hstack([1 - p, p])
        products = (p * changes).sum(axis=1, keepdims=True) - changes
        return products if self.weights is None else products * self.weights[:, None]


class LinearProblem(GeneralisedLinearProblem):
    """Logistic regression: θ is the weights row by row, then the bias; one row for two classes, or one per class.

    Args:
        features: training features (n, d), float64, dense or CSR.
        labels: training labels (n,) as the model was trained on them.
        weights: (1, d) or (classes, d).
        bias: (1,) or (classes,); None for a model without a bias.
        l2: penalty on the weights; the bias is not penalised.
        rows: the training samples that H is averaged over; None for all.
        sample_weights: (n,) factors of the training samples' losses; None for 1.
        shared_penalty: whether the penalty is added to the *mean* loss, so that each sample carries a share of it;
            otherwise it is added to the sum, as in scikit-learn, and a refit without a sample keeps all of it.
    """

    def __init__(
        self,
        features: Any,
        labels: np.ndarray,
        weights: np.ndarray,
        bias: np.ndarray | None,
        l2: float,
        rows: np.ndarray | None = None,
        sample_weights: np.ndarray | None = None,
        shared_penalty: bool = True,
    ):
        self.has_bias, bias = bias is not None, np.zeros(0) if bias is None else bias
        penalty = np.concatenate([np.full(weights.size, l2), np.zeros(len(bias))])
        self.shape, self.l2, self.shared_penalty = weights.shape, l2, shared_penalty
        theta = _join(weights, bias)
        super().__init__(features, labels, theta, penalty, rows, len(weights), weights=sample_weights)

    def inputs(self, features: Any) -> Any:
        """Return the features unchanged.

        Raises:
            SolverError: the number of features differs from the number of weights per class.
        """
        if features.shape[1] != self.shape[1]:
            raise SolverError(
                f"samples have {features.shape[1]} features, and the model {self.shape[1]} weights a class"
            )
        return features

    def check(self) -> None:
        """Check that the model is at the minimum of the objective that the problem represents.

        Raises:
            SolverError: the gradient of the training objective is not small, or is not that of the mean loss.
        """
        super().check()
        self._check_minimum()

    def _check_minimum(self) -> None:
        gradient = self.adjoint(self.train_residuals, self._train_inputs)
        gradient = gradient / len(self.labels) + self.penalty * self.theta
        # Other samples of the same kind have a gradient of about size / √n at this model.
        limit = min(MINIMUM, MINIMUM_BY_ROOT / np.sqrt(len(self.labels)))
        tolerance = TOLERANCE * (1 if self.weights is None else self.weights.mean())
        for slope, size, part in zip(self._parts(gradient), self._sizes(), ("weights", "bias"), strict=True):
            if not (np.linalg.norm(slope) <= limit * size or np.abs(slope).max() <= tolerance):
                raise SolverError(self._no_minimum(f"the gradient by the {part} is {np.abs(slope).max():.2g}"))
        # With symmetric samples a weight of 0 is correct; an L1 penalty holds weights at 0 against their gradient.
        slopes = self._parts(gradient)[0][self._parts(self.theta)[0] == 0]
        if np.abs(slopes).max(initial=0.0) > PINNED * self._sizes()[0]:
            raise SolverError(self._no_minimum("weights are exactly 0, and the gradient by them is not"))

    def _no_minimum(self, sign: str) -> str:
        return (
            f"logistic: the model is not at the minimum of mean loss + l2/2 ‖weights‖² with l2 = {self.l2:g} ({sign}); "
            "pass the samples and labels that it was fitted on and l2 = 1 / (C n), or fit it again with an intercept, "
            "a lower tolerance and neither L1 penalty nor weights of classes or samples"
        )

    def _sizes(self) -> tuple[float, float]:
        """Return the root mean squares of single samples' gradients by weights and by bias, from some samples."""
        rows = np.unique(np.linspace(0, len(self.labels) - 1, SCALED).astype(int))
        features, residuals = self.features[rows], self.train_residuals[rows]
        squares = features.multiply(features) if hasattr(features, "tocsr") else features**2
        of_bias = (residuals**2).sum(axis=1)
        of_weights = of_bias * np.asarray(squares.sum(axis=1)).ravel()
        return tuple(float(np.sqrt(values.mean())) for values in (of_weights, of_bias))

    def margins(self, theta: np.ndarray, inputs: Any) -> np.ndarray:
        """Return W x_i + b of every sample."""
        weights, bias = self._parts(theta)
        margins = rows_times(inputs, weights.T)
        return margins + bias if self.has_bias else margins

    def adjoint(self, residuals: np.ndarray, inputs: Any) -> np.ndarray:
        """Return Σ_i residuals_i [x_iᵀ, 1]; the features may be sparse and are not copied."""
        return _join((inputs.T @ residuals).T, residuals.sum(axis=0) if self.has_bias else residuals[0, :0])

    def preconditioner(self, damping: float) -> Matvec | None:
        """Return the product with (A ⊗ B + (l2 + δ)I)⁻¹ for dense features, None for sparse ones.

        B is the second moment of the features and the constant, weighted by each sample's total
        curvature; A is the mean curvature of the margins, scaled to match. For two classes this is exact up to
        the penalty on the bias; for more classes it is close enough that CG needs a tenth of the steps, and an average
        over `PRECONDITIONED` samples serves as well as one over all.
        """
        if hasattr(self.features, "tocsr"):
            return None
        several = len(self.curvature_probabilities) // PRECONDITIONED if self.n_margins > 1 else 1
        every = slice(None, None, max(several, 1))
        p, weights = self.curvature_probabilities[every], self.curvature_weights
        n, p_weighted = len(p), weighted(p, None if weights is None else weights[every])
        curvature = (p_weighted * (1 - p)).sum(axis=1, keepdims=True)
        features = self.curvature_inputs[every]
        features = np.hstack([features, np.ones((n, 1))]) if self.has_bias else features
        moments = (features * curvature).T @ features / n
        margins = np.ones((1, 1))
        if p.shape[1] > 1:
            margins = (np.diag(p_weighted.sum(axis=0)) - p_weighted.T @ p) / curvature.sum()
        (a, left), (b, right) = np.linalg.eigh(margins), np.linalg.eigh(moments)
        # Rounding may leave tiny negative eigenvalues; the floor keeps the inverse positive definite.
        scale = 1 / np.maximum(np.outer(a, b) + self.l2 + damping, 1e-12)

        def product(vector: np.ndarray) -> np.ndarray:
            weights, bias = self._parts(vector)
            joint = np.hstack([weights, bias[:, None]]) if self.has_bias else weights
            solved = left @ (scale * (left.T @ joint @ right)) @ right.T
            return _join(solved[:, :-1], solved[:, -1]) if self.has_bias else solved.ravel()

        return product

    def project(self, direction: np.ndarray) -> np.ndarray:
        """Return g_iᵀ·direction, where g_i is the gradient of a sample's loss and of its share of the penalty.

        If the penalty is added to the *mean* loss, a refit without a sample keeps it, so every sample carries a share
        of it. At the optimum the g_i then sum to zero.
        """
        products = super().project(direction)
        return products + (self.penalty * self.theta) @ direction if self.shared_penalty else products

    def project_labels(self, direction: np.ndarray) -> np.ndarray:
        """Return what `project` would, for each label that a sample could have: (n, classes)."""
        products = super().project_labels(direction)
        return products + (self.penalty * self.theta) @ direction if self.shared_penalty else products

    def _parts(self, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        size = self.shape[0] * self.shape[1]
        return vector[:size].reshape(self.shape), vector[size:]


def rows_times(rows: Any, matrix: np.ndarray) -> np.ndarray:
    """Return rows @ matrix, for dense rows `ROWS` at a time, so that a row's result depends only on its block."""
    if hasattr(rows, "tocsr") or len(rows) <= ROWS:
        return rows @ matrix
    return np.concatenate([rows[start : start + ROWS] @ matrix for start in range(0, len(rows), ROWS)])


def probabilities_of(margins: np.ndarray) -> np.ndarray:
    """Return the probabilities that belong to margins, in their shape."""
    return expit(margins) if margins.shape[1] == 1 else softmax(margins, axis=1)


def residuals_of(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return p − y (n, rows), the derivative of each loss by its margins."""
    classes = probabilities.shape[1]
    return probabilities - (labels[:, None] if classes == 1 else np.eye(classes)[labels])


def weighted(rows: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Return each row times its sample's weight; None for 1."""
    return rows if weights is None else rows * weights[:, None]


def mean_loss(margins: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the mean cross-entropy of margins, each sample's times its weight (None for 1)."""
    logits = np.hstack([np.zeros_like(margins), margins]) if margins.shape[1] == 1 else margins
    losses = logsumexp(logits, axis=1) - logits[np.arange(len(labels)), labels]
    return float((losses if weights is None else losses * weights).mean())


def _join(weights: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return np.concatenate([weights.ravel(), bias])
