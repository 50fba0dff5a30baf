"""Influence problem of all layers of a network by projected gradients, which training may have recorded."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy.linalg import cho_factor, cho_solve
from torch import Tensor, nn

from datagradient.influence.batches import Inputs, Samples, length, mapped
from datagradient.influence.glm import CHECKED
from datagradient.influence.labels import binary_numbers, class_numbers
from datagradient.influence.last_layer import AGREEMENT
from datagradient.influence.modules import (
    PASSES_DIFFER,
    as_samples,
    first_pass,
    logits_of,
    refuse_probabilities,
    restored_generators,
    trainable,
)
from datagradient.influence.projections import (
    Projections,
    gradients_by_layer,
    left_out,
    projections_of,
    with_gradients,
)
from datagradient.influence.record import Record, precise
from datagradient.influence.recording import FITTED
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
        projections: those of another problem; None for the record's, or those of some of the training samples.

    Raises:
        SolverError: the network or its labels cannot be represented, or the record is one of the last layer.
    """

    def __init__(
        self, network: nn.Module, to_tensor: Callable[[Any], Inputs], inputs: Any, labels: Any,
        rows: np.ndarray | None = None, batch_size: int = 500, weights: np.ndarray | None = None,
        projections: Projections | None = None,
    ):  # fmt: skip
        self.network, self.to_tensor, self.batch_size = network, to_tensor, batch_size
        self.features, self.rows, self.weights = inputs, rows, weights
        self.device = next(iter(trainable(network).values())).device
        samples = self._samples(inputs)
        if isinstance(inputs, Record):
            if inputs.projections is None:
                raise SolverError("record: it holds what the last layer took, and not projected gradients: train again")
            self.n_classes, self.projections = network.get_submodule(inputs.layer).out_features, inputs.projections
        else:
            self.n_classes, self.projections = self._checked_outputs(samples[: min(CHECKED, batch_size)]), {}
        self.n_margins: int = self.n_classes
        self.labels = self._class_numbers(labels, len(samples), "training")
        if projections is not None:
            self.projections = projections
        elif not self.projections:
            self._fit()

    @property
    def left_out(self) -> list[str]:
        """The names of the trainable parameters that are held fixed."""
        return left_out(self.network, self.projections)

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
        return self._second_moment(slice(None) if self.rows is None else self.rows)

    def further(self, inputs: Any, labels: Any, weights: np.ndarray | None) -> "ProjectedProblem":
        """Return the problem of other samples, with the same directions, for projection alone."""
        return ProjectedProblem(
            self.network, self.to_tensor, inputs, labels, None, self.batch_size, weights, self.projections
        )

    def _checked_outputs(self, few: Samples) -> int:
        """Return the number of logits; refuse probabilities, and outputs of chance or that depend on the batch."""
        with restored_generators(self.device), torch.no_grad():
            _, x = next(iter(few.batches(self.device)))
            whole = first_pass(self.network, lambda: logits_of(self.network, {}, x))
            refuse_probabilities(self.network, x, whole)
            again = [logits_of(self.network, {}, mapped(lambda part, i=i: part[i : i + 1], x))
                     for i in range(min(length(x), 4))]  # fmt: skip
            if not torch.allclose(torch.cat(again), whole[: len(again)], AGREEMENT, AGREEMENT, equal_nan=True):
                raise SolverError(f"neural: {PASSES_DIFFER}")
        return whole.shape[1]

    def _fit(self) -> None:
        """Find the directions from some training samples, spread over all of them."""
        self.projections = projections_of(self.network)
        rows = np.unique(np.linspace(0, len(self.labels) - 1, FITTED).astype(int))
        targets = torch.from_numpy(self.labels[rows])
        for start, x in self._samples(self.features)[rows].batches(self.device):
            seen = gradients_by_layer(self.network, self.projections, self._run(x),
                                      targets[start : start + length(x)], None)  # fmt: skip
            self.projections = {name: each for name, each in self.projections.items() if name in seen}
            for name, projection in self.projections.items():
                projection.see(*seen[name])
        for projection in self.projections.values():
            projection.fit()

    def _run(self, x: Inputs) -> Callable[[], Tensor]:
        parameters = {name: value.detach().requires_grad_() for name, value in trainable(self.network).items()}
        return lambda: logits_of(self.network, parameters, x)

    def sampled(self, rows: np.ndarray) -> Matvec:
        """Return the function that multiplies a vector by the Fisher of the given training samples."""
        moment = self._second_moment(rows)
        return lambda vector: moment @ vector

    def _second_moment(self, rows: Any) -> np.ndarray:
        z = self.gradients[rows]
        if self.weights is not None:  # a sample counts in H in proportion to its weight, and its gradient has it too
            z = z / np.sqrt(np.where(self.weights[rows] > 0, self.weights[rows], 1))[:, None].astype(z.dtype)
        return (z.T @ z).astype(np.float64) / len(z)

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
        return self.gradients @ direction

    def check_age(self, direction: np.ndarray, products: np.ndarray) -> None:
        """Refuse a record whose scores are not those of the network as trained; see `LastLayerProblem.check_age`."""
        if isinstance(self.features, Record) and self.features.checked is not None:
            checked = self.features.checked
            now = checked.values.cpu().double().numpy() @ direction
            self.agreement = self.features.agreement(now, products[checked.samples])

    def project_labels(self, direction: np.ndarray) -> np.ndarray:
        """Raise a `SolverError`: only gradients for the labels that the samples have are known."""
        raise SolverError("projected gradients: influence by label is for parameters: last or all")

    def _gradients(self, inputs: Any, labels: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        targets, factors, parts = torch.from_numpy(labels), None if weights is None else torch.from_numpy(weights), []
        for start, x in self._samples(inputs).batches(self.device):
            part = slice(start, start + length(x))
            parts.append(with_gradients(self.network, self.projections, self._run(x), targets[part],
                                        None if factors is None else factors[part]).cpu())  # fmt: skip
        return torch.cat(parts).float().numpy()

    def _samples(self, inputs: Any) -> Any:
        return inputs if isinstance(inputs, Record) else as_samples(inputs, self.to_tensor, self.batch_size)

    def _class_numbers(self, labels: Any, n: int, part: str) -> np.ndarray:
        numbers = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else labels
        if self.n_classes == 1:
            return binary_numbers(numbers, n, part)
        return class_numbers(numbers, n, self.n_classes, part)
