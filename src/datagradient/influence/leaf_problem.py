"""Influence problem of boosted trees in their leaf values: a linear model on one-hot leaf indicators."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from datagradient.influence.glm import CHECKED, GeneralisedLinearProblem, probabilities_of, weighted
from datagradient.influence.solvers import Matvec, SolverError

SINGLE = 1e-4  # tolerance for margins that a library computes in single precision


class LeafProblem(GeneralisedLinearProblem):
    """Boosted trees with their structure held fixed: θ is the node values, tree after tree.

    The margin of class k is the sum of the values of the leaves that a sample falls into, over the trees
    of that class: a linear model on one-hot leaf indicators. The paper does not specify this; it is our choice.

    Args:
        features: training features, in the form that `nodes_of` takes.
        labels: training labels (n,) as the model was trained on them.
        values: for each tree the values of its nodes; inner nodes, in which no sample ends, have 0.
        classes: for each tree the margin that it adds to.
        n_margins: 1 for two classes, otherwise one per class.
        offset: the margins (n_margins,) before the first tree.
        penalty: on the leaf values, added to the *mean* loss. XGBoost's own penalty is added to the *sum*, so a
            refit without a sample keeps it, and no sample carries a share of it.
        nodes_of: returns the node in which each sample ends, for every tree: (n, trees) integers.
        margins_of: returns the margins (n, n_margins) of samples, offset included; or the changes of the margins
            along a direction in the node values. A library's own prediction is several times faster than reading
            out the nodes.
        rows: the training samples that H is averaged over; None for all.
        check_samples: called before a solve; refuses samples other than those that the trees were trained on.
        weights: (n,) factors of the training samples' losses; None for 1.
    """

    def __init__(
        self,
        features: Any,
        labels: np.ndarray,
        values: list[np.ndarray],
        classes: np.ndarray,
        n_margins: int,
        offset: np.ndarray,
        penalty: float,
        nodes_of: Callable[[Any], np.ndarray],
        margins_of: Callable[[Any, list[np.ndarray] | None], np.ndarray],
        rows: np.ndarray | None = None,
        check_samples: Callable[[], None] = lambda: None,
        weights: np.ndarray | None = None,
    ):
        super().__init__(features, labels, np.concatenate(values), penalty, rows, n_margins, offset, weights)
        self.classes, self._nodes_of, self._margins_of = classes, nodes_of, margins_of
        self._check_samples = check_samples
        ends = np.cumsum([len(tree) for tree in values])
        self.trees = [slice(end - len(tree), end) for end, tree in zip(ends, values, strict=True)]

    def inputs(self, features: Any) -> np.ndarray:
        """Return the node in which each sample ends, for every tree."""
        return self._nodes_of(features)

    def margins(self, theta: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """Return the sums of leaf values by class."""
        margins = np.zeros((len(inputs), self.n_margins))
        for t, tree in enumerate(self.trees):
            margins[:, self.classes[t]] += theta[tree][inputs[:, t]]
        return margins

    def adjoint(self, residuals: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """Return for each leaf the sum of its class's residuals over the samples in it."""
        sums, columns = np.empty(len(self.theta)), np.ascontiguousarray(residuals.T)
        for t, tree in enumerate(self.trees):
            sums[tree] = np.bincount(inputs[:, t], columns[self.classes[t]], minlength=tree.stop - tree.start)
        return sums

    @cached_property
    def train_probabilities(self) -> np.ndarray:
        """Predicted probabilities of every training sample, in the precision of `margins_of`."""
        return probabilities_of(self._margins_of(self.features, None).astype(np.float64))

    def train_changes(self, direction: np.ndarray) -> np.ndarray:
        """Return J_i·direction of every training sample, in the precision of `margins_of`."""
        changes = self._margins_of(self.features, [direction[tree] for tree in self.trees]).astype(np.float64)
        self._compare(changes[:CHECKED], self.margins(direction, self.few_inputs), "along a direction")
        return changes

    def check(self) -> None:
        """Check that the booster's margins are the sums of its leaves, and that it was trained on these samples.

        Raises:
            SolverError: one of the two is not so, or the gradient is not that of the mean loss.
        """
        super().check()
        self._check_samples()
        predicted = self._margins_of(self.features[:CHECKED], None)
        self._compare(predicted, self.margins(self.theta, self.few_inputs) + self.offset, "of the booster")

    @staticmethod
    def _compare(margins: np.ndarray, sums: np.ndarray, which: str) -> None:
        gap = np.abs(margins - sums).max(initial=0.0)
        if not gap <= SINGLE * (1 + np.abs(sums).max(initial=0.0)):
            raise SolverError(f"boosted: the margins {which} are not the sums of its leaves: they differ by {gap:.3g}")

    def preconditioner(self, damping: float) -> Matvec:
        """Return the product with the inverse of the diagonal of H + δI (Jacobi)."""
        p = self.curvature_probabilities
        curvature = weighted(p * (1 - p), self.curvature_weights)
        diagonal = self.adjoint(curvature, self.curvature_inputs) / len(p) + self.penalty + damping
        return lambda vector: vector / diagonal
