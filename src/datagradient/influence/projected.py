"""Influence problem of all layers of a network by projected gradients, which training may have recorded."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy.linalg import cho_factor, cho_solve
from torch import Tensor, nn

from datagradient.influence.batches import Inputs, length
from datagradient.influence.glm import CHECKED
from datagradient.influence.labels import binary_numbers, class_numbers
from datagradient.influence.modules import as_samples, first_pass, last_linear, trainable
from datagradient.influence.projections import projected_gradients, projections_of
from datagradient.influence.record import Record, precise
from datagradient.influence.solvers import Matvec, SolverError


class ProjectedProblem:
    """Projected gradients of a trained network on its training set, and their second moment: the empirical Fisher.

    A parameter vector is the projected gradient of one layer after the other. The empirical Fisher (1/m) Σ_i z_i z_iᵀ
    stands for the curvature: z_i are the gradients for the labels that the samples have. Parameters of layers that are
    neither linear nor convolutional nor embeddings are held fixed. The loss is cross-entropy.

    Args:
        network: on the device to compute on; run in evaluation mode.
        to_tensor: turns the inputs of a batch into what the network takes.
        inputs: n training inputs, or a `Record` of them with projections, which saves the pass.
        labels: (n,) in the form that `NetworkProblem` takes.
        rows: the training samples that H is averaged over; None for all.
        batch_size: samples at once.
        weights: (n,) factors of the training samples' losses; None for 1.
    """

    def __init__(
        self, network: nn.Module, to_tensor: Callable[[Any], Inputs], inputs: Any, labels: Any,
        rows: np.ndarray | None = None, batch_size: int = 500, weights: np.ndarray | None = None,
    ):  # fmt: skip
        self.network, self.to_tensor, self.batch_size = network, to_tensor, batch_size
        self.features, self.rows, self.weights = inputs, rows, weights
        self.device = next(iter(trainable(network).values())).device
        samples = self._samples(inputs)
        if isinstance(inputs, Record):
            layer, self.projections = dict(network.named_modules())[inputs.layer], inputs.projections
        else:
            _, x = first_pass(network, lambda: next(iter(samples[: min(CHECKED, batch_size)].batches(self.device))))
            layer, self.projections = first_pass(network, lambda: last_linear(network, x)), projections_of(network)
        self.n_classes = layer.out_features
        self.labels = self._class_numbers(labels, len(samples), "training")

    @cached_property
    def gradients(self) -> np.ndarray:
        """The projected gradients of the training samples (n, numbers), single precision."""
        if isinstance(self.features, Record):
            return precise(self.features.values).cpu().float().numpy()
        return self._gradients(self.features, self.labels, self.weights)

    def check(self) -> None:
        """Check nothing: the derivatives are torch's own."""

    def matvec(self, vector: np.ndarray) -> np.ndarray:
        """Return the product with the empirical Fisher, without damping."""
        return self.fisher @ vector

    @cached_property
    def fisher(self) -> np.ndarray:
        """The second moment of the projected gradients."""
        z = self.gradients if self.rows is None else self.gradients[self.rows]
        return (z.T @ z).astype(np.float64) / len(z)

    def further(self, inputs: Any, labels: Any, weights: np.ndarray | None) -> "ProjectedProblem":
        """Return the problem of other samples, with the same directions, for projection alone."""
        other = ProjectedProblem(self.network, self.to_tensor, inputs, labels, None, self.batch_size, weights)
        other.projections = self.projections
        return other

    def sampled(self, rows: np.ndarray) -> Matvec:
        """Return the function that multiplies a vector by the Fisher of the given training samples."""
        z = self.gradients[rows]
        return lambda vector: z.T @ (z @ vector.astype(z.dtype)).astype(np.float64) / len(z)

    def preconditioner(self, damping: float) -> Matvec:
        """Return the product with (F + δI)⁻¹, which is exact."""
        factors = cho_factor(self.fisher + max(damping, 1e-12) * np.eye(len(self.fisher)))
        return lambda vector: cho_solve(factors, vector)

    def mean_gradient(self, inputs: Any, labels: Any, weights: np.ndarray | None = None) -> np.ndarray:
        """Return the projected gradient of the mean loss on any samples."""
        numbers = self._class_numbers(labels, len(self._samples(inputs)), "validation")
        return self._gradients(inputs, numbers, weights).mean(axis=0, dtype=np.float64)

    def project(self, direction: np.ndarray) -> np.ndarray:
        """Return g_iᵀ·direction for every training sample, by the projected gradients."""
        products = self.gradients @ direction
        if isinstance(self.features, Record) and self.features.checked is not None:
            samples, now = self.features.checked
            self.agreement = self.features.agreement(now.cpu().double().numpy() @ direction, products[samples])
        return products

    def project_labels(self, direction: np.ndarray) -> np.ndarray:
        """Raise a `SolverError`: only gradients for the labels that the samples have are known."""
        raise SolverError("record: influence by label is for parameters: last")

    def _gradients(self, inputs: Any, labels: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        targets, factors, parts = torch.from_numpy(labels), None if weights is None else torch.from_numpy(weights), []
        for start, x in self._samples(inputs).batches(self.device):
            part = slice(start, start + length(x))
            parts.append(projected_gradients(self.network, self.projections, x, targets[part],
                                             None if factors is None else factors[part]).cpu())  # fmt: skip
        return torch.cat(parts).float().numpy()

    def _samples(self, inputs: Any) -> Any:
        return inputs if isinstance(inputs, Record) else as_samples(inputs, self.to_tensor, self.batch_size)

    def _class_numbers(self, labels: Any, n: int, part: str) -> np.ndarray:
        numbers = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else labels
        if self.n_classes == 1:
            return binary_numbers(numbers, n, part)
        return class_numbers(numbers, n, self.n_classes, part)
