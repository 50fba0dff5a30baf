"""Influence problem of neural networks: curvature and per-sample products without per-sample gradients.

Products are means over samples, independent of the batch size. H is the generalised Gauss–Newton matrix
(1/m) Σ_i J_iᵀ M_i J_i (Schraudolph 2002), J_i the Jacobian of a sample's outputs and M_i the second derivative of its
loss with respect to them, see `datagradient.influence.losses`; or the exact Hessian of the mean loss. Weight decay
belongs to the optimiser and not to the objective, so it is not in H.
"""

import math
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import grad, jvp

from datagradient.influence.batches import Arrays, Batch, Inputs, Samples, batches_of, length, mapped
from datagradient.influence.ekfac import EKFAC
from datagradient.influence.losses import BinaryCrossEntropy, CrossEntropy, loss_for, takes_logits
from datagradient.influence.modules import (
    PASSES_DIFFER,
    as_samples,
    first_pass,
    last_linear,
    logits_of,
    outputs_of,
    refuse_probabilities,
    restored_generators,
    trainable,
)
from datagradient.influence.solvers import Matvec, SolverError, Vector
from datagradient.influence.tangents import written_out_tangents

AGREEMENT = 1e-4  # tolerance between two passes over the same samples in single precision
CHECKED, DIFFERENCED = 32, 4  # samples for the comparison of two passes, and for the finite difference
# The step of the finite difference as a share of the parameters, and its allowed relative error: in double precision,
# and in single precision for networks that cannot compute in double. In single precision, rounding rules out a step so
# small that no activation crosses zero.
DOUBLE, SINGLE = (1e-7, 0.02), (3e-3, 0.5)
ROUNDING = 50  # rounding error of losses, in units of their precision


class NetworkProblem:
    """Gradients and curvature products of a trained network on its training set.

    A network does not reveal the loss it was trained with. The default is cross-entropy (binary cross-entropy for one
    logit) without weights. A parameter vector is all trainable parameters (`requires_grad`) in the network's order,
    flattened, as a float64 array; parameters shared by several layers count once. The network computes in its own
    precision.

    Args:
        network: on the device to compute on. It is run in evaluation mode and its own mode is restored afterwards,
            see `datagradient.influence.modules`.
        to_tensor: turns the inputs of a batch into what the network takes: a tensor, or a tuple or mapping of tensors.
        inputs: n training inputs: an array, a tuple or mapping of arrays, or `datagradient.influence.batches.Samples`.
        labels: training labels (n,) as the network was trained on them, 0 … classes − 1; NumPy or torch. For one
            logit 0 and 1, also as floats or with shape (n, 1); for another loss, whatever it takes.
        rows: the training samples that H is averaged over; None for all.
        batch_size: samples at once; the results do not depend on it.
        curvature: ``"ggn"`` or ``"hessian"``.
        loss: see `datagradient.influence.losses.loss_for`.
        weights: (n,) factors of the training samples' losses; None for 1.
        last: whether only the parameters of the last linear layer count, the others held fixed.

    Raises:
        SolverError: the network, its inputs or the labels cannot be represented; the message says what can.
    """

    def __init__(
        self,
        network: nn.Module,
        to_tensor: Callable[[Any], Inputs],
        inputs: Any,
        labels: Any,
        rows: np.ndarray | None = None,
        batch_size: int = 500,
        curvature: str = "ggn",
        loss: str | Callable | None = None,
        weights: np.ndarray | None = None,
        last: bool = False,
    ):
        self.network, self.to_tensor, self.batch_size = network, to_tensor, batch_size
        self.parameters, self.inputs = trainable(network), self._samples(inputs)
        self.product = {"ggn": self._ggn_product, "hessian": self._hessian_product}[curvature]
        first = next(iter(self.parameters.values()))
        self.device, self.dtype = first.device, first.dtype
        self._run = logits_of if takes_logits(loss) else outputs_of
        self.weights = None if weights is None else torch.from_numpy(weights).to(self.dtype)
        with restored_generators(self.device), torch.no_grad():
            self.few = first_pass(network, self._first_samples)
            outputs = first_pass(network, lambda: self.outputs(self.parameters, self.few))
            if takes_logits(loss):
                refuse_probabilities(network, mapped(lambda x: x[:2], self.few), outputs[:2])
            self.loss, self.few_outputs = loss_for(loss, outputs), outputs[:2]
            if last:
                layer = first_pass(network, lambda: last_linear(network, self.few))
                chosen = {name for name, value in network.named_parameters()
                          if value is layer.weight or value is layer.bias}  # fmt: skip
                self.parameters = {name: value for name, value in self.parameters.items() if name in chosen}
            self.labels = self.loss.targets(labels, self.few_outputs, len(self.inputs), "training")
            self.rows = np.arange(len(self.labels)) if rows is None else rows
            first_pass(network, self._check_agreement)

    def _samples(self, inputs: Any) -> Samples:
        samples = as_samples(inputs, self.to_tensor, self.batch_size)
        if not isinstance(samples, Arrays) or samples is inputs:
            return samples
        # Converted into tensors once, not in every pass.
        return Arrays(samples.to_tensors(samples.inputs), lambda tensors: tensors, self.batch_size)

    def _first_samples(self) -> Inputs:
        """Return the first `CHECKED` samples, or the caller's first batch if it is smaller."""
        samples = self.inputs[:CHECKED]
        if isinstance(samples, Arrays):
            samples = Arrays(samples.inputs, samples.to_tensors, CHECKED)
        return mapped(lambda x: x[:CHECKED], next(iter(samples.batches(self.device)))[1])

    @cached_property
    def curvature_samples(self) -> Samples:
        """The training samples that H is averaged over."""
        return self.inputs if len(self.rows) == len(self.labels) else self.inputs[self.rows]

    def mean_gradient(self, inputs: Any, labels: Any, weights: np.ndarray | None = None) -> np.ndarray:
        """Return the gradient of the mean loss on any samples, shape of a parameter vector.

        Args:
            inputs: m samples, in the form of the training inputs.
            labels: (m,).
            weights: (m,) factors of their losses; None for 1.

        Raises:
            SolverError: a label is not a class of the network, or a loss is not finite.
        """
        total: dict[str, Tensor] = {}
        n = 0
        for batch in self.validation_batches(inputs, labels, weights):
            losses, gradient = _gradient(lambda p: self.losses(p, batch), self.parameters)  # noqa: B023
            self._check_finite(losses, batch.start, "validation")
            total, n = _add(total, gradient), n + len(losses)
        return self._flat(total) / n

    def validation_batches(self, inputs: Any, labels: Any, weights: np.ndarray | None = None) -> Iterator[Batch]:
        """Yield batches of any samples; arguments and errors are as for `mean_gradient`."""
        samples = self._samples(inputs)
        targets = self.loss.targets(labels, self.few_outputs, len(samples), "validation")
        factors = None if weights is None else torch.from_numpy(weights).to(self.dtype)
        return batches_of(samples, targets, factors, self.device)

    def matvec(self, vector: Vector) -> Vector:
        """Return H·vector, the mean over the chosen samples, without damping: an array, or a tensor if it is one."""
        return self.sampled(self.rows)(vector)

    def sampled(self, rows: np.ndarray) -> Matvec:
        """Return the function that multiplies a vector by the H of the given training samples, without damping."""
        samples = self.curvature_samples if rows is self.rows else self.inputs[rows]

        def product(vector: Vector) -> Vector:
            tangents, total = self._parts(vector), {}
            for batch in self.train_batches(samples, rows):
                total = _add(total, self.product(batch, tangents))
            return self._flat(total, vector) / len(rows)

        return product

    def preconditioner(self, damping: float) -> None:
        """Return None: a network has no cheap preconditioner; `ekfac` is selected by an option of CG."""

    def ekfac(self, damping: float) -> Matvec:
        """Return the function that multiplies by the damped inverse of EK-FAC's approximation of the GGN."""
        if self.weights is not None or not isinstance(self.loss, CrossEntropy | BinaryCrossEntropy):
            raise SolverError("ekfac: is for cross-entropy without weights; use cg without it")
        approximation = EKFAC(self.network, set(self.parameters), self._logits_with_gradients)
        for _, x in self.curvature_samples.batches(self.device):
            approximation.see(x)
        approximation.find_bases()
        for _, x in self.curvature_samples.batches(self.device):
            approximation.measure(x)
        return lambda vector: self._flat(approximation.solve(self._parts(vector), damping), vector)

    def project(self, direction: np.ndarray) -> np.ndarray:
        """Return g_iᵀ·direction for every training sample: the tangents of all losses from one forward-mode pass."""
        tangents, products = self._parts(direction), []
        for batch in self.train_batches(self.inputs):
            losses, product = self._tangents(batch, tangents)
            self._check_finite(losses, batch.start, "training")
            products.append(product.cpu())
        return torch.cat(products).double().numpy()

    def project_labels(self, direction: np.ndarray) -> np.ndarray:
        """Return g_iᵀ·direction of every training sample for each label that it could have: (n, classes).

        Raises:
            SolverError: the loss is no cross-entropy of logits.
        """
        if not isinstance(self.loss, CrossEntropy | BinaryCrossEntropy):
            raise SolverError("neural: influence by label is for cross-entropy")
        tangents, products = self._parts(direction), []
        for batch in self.train_batches(self.inputs):
            with torch.no_grad():
                logits, changes = _tangents(partial(self.outputs, x=batch.inputs), self.parameters, tangents)
            if logits.shape[1] == 1:
                logits, changes = (torch.cat([-part, part], dim=1) / 2 for part in (logits, changes))
            expected = (torch.softmax(logits.double(), dim=1) * changes.double()).sum(dim=1, keepdim=True)
            product = expected - changes.double()
            products.append((product if batch.weights is None else product * batch.weights[:, None]).cpu())
        return torch.cat(products).numpy()

    @torch.no_grad()
    def _tangents(self, batch: Batch, tangents: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return every sample's loss, and its change along a parameter vector."""
        return _tangents(lambda parameters: self.losses(parameters, batch), self.parameters, tangents)

    def losses(self, parameters: dict[str, Tensor], batch: Batch) -> Tensor:
        """Return the weighted loss (n,) of every sample of a batch."""
        return self.losses_of(self.outputs(parameters, batch.inputs), batch)

    def losses_of(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the weighted loss (n,) of every sample of a batch, given the network's outputs for it."""
        losses = self.loss.values(outputs, batch.targets)
        return losses if batch.weights is None else batch.weights.to(losses.dtype) * losses

    def outputs(self, parameters: dict[str, Tensor], x: Inputs) -> Tensor:
        """Return the network's outputs (n, …); for a loss of `LOSSES` on logits these are (n, classes) or (n, 1)."""
        return self._run(self.network, parameters, x)

    def _logits_with_gradients(self, x: Inputs) -> Tensor:
        return self.outputs({name: value.detach().requires_grad_() for name, value in self.parameters.items()}, x)

    def _ggn_product(self, batch: Batch, tangents: dict[str, Tensor]) -> dict[str, Tensor]:
        def logits(parameters: dict[str, Tensor]) -> Tensor:
            return self.outputs(parameters, batch.inputs)

        with torch.no_grad():
            output, change = _tangents(logits, self.parameters, tangents)
            change = self.loss.curvature(output, batch.targets, change)
        if batch.weights is not None:
            change = batch.weights.view(-1, *[1] * (change.dim() - 1)) * change
        return _gradient(lambda parameters: logits(parameters) * change, self.parameters)[1]

    def _hessian_product(self, batch: Batch, tangents: dict[str, Tensor]) -> dict[str, Tensor]:
        gradient = grad(lambda parameters: self.losses(parameters, batch).sum())
        return first_pass(self.network, lambda: jvp(gradient, (self.parameters,), (tangents,))[1])

    def train_batches(self, samples: Samples, rows: np.ndarray | None = None) -> Iterator[Batch]:
        """Yield batches of training samples at the positions `rows` (None for all)."""
        labels = self.labels if rows is None else self.labels[rows]
        weights = self.weights if rows is None or self.weights is None else self.weights[rows]
        return batches_of(samples, labels, weights, self.device)

    def _parts(self, vector: Vector) -> dict[str, Tensor]:
        flat = vector if isinstance(vector, Tensor) else torch.from_numpy(vector).to(self.device, self.dtype)
        pieces = flat.split([value.numel() for value in self.parameters.values()])
        return {
            name: piece.view_as(value)
            for (name, value), piece in zip(self.parameters.items(), pieces, strict=True)
        }  # fmt: skip

    def _flat(self, parts: dict[str, Tensor], like: Vector = None) -> Vector:
        flat = torch.cat([parts[name].reshape(-1) for name in self.parameters])
        return flat if isinstance(like, Tensor) else flat.double().cpu().numpy()

    def on_device(self, vector: np.ndarray) -> Vector:
        """Return a parameter vector as a solver should take it: a tensor that stays on a GPU, or the array itself."""
        return vector if self.device.type == "cpu" else torch.from_numpy(vector).to(self.device, self.dtype)

    def check(self) -> None:
        """Check by finite differences on a few samples that the derivatives are those of the network's losses.

        Raises:
            SolverError: they disagree, e.g. because a part of the network is detached or defines its own derivatives.
        """
        try:
            self._check_derivatives(torch.float64, *DOUBLE)
        except RuntimeError:  # the network holds constants in single precision
            self._check_derivatives(self.dtype, *SINGLE)

    def _check_derivatives(self, precision: torch.dtype, share: float, off: float) -> None:
        batch = self._few_batch(slice(0, DIFFERENCED), precision)
        tensors = {
            name: value.detach().to(precision)
            for name, value in [*self.network.named_parameters(), *self.network.named_buffers()]
            if value.is_floating_point()
        }
        theta = {name: tensors[name] for name in self.parameters}
        step = _random_step(theta, share)
        for name, layer in self.network.named_modules():
            if isinstance(layer, nn.Embedding) and layer.padding_idx is not None and f"{name}.weight" in step:
                step[f"{name}.weight"][layer.padding_idx] = 0  # torch holds these values fixed, but not in forward mode

        def losses_at(parameters: dict[str, Tensor]) -> Tensor:
            return self.losses({**tensors, **parameters}, batch)

        with torch.no_grad():
            ahead, behind = (
                losses_at({name: value + sign * step[name] for name, value in theta.items()}) for sign in (1, -1)
            )
            forward = _tangents(losses_at, theta, step)[1]
        losses, gradient = _gradient(losses_at, theta)
        differences, backward = (ahead - behind) / 2, sum((gradient[name] * step[name]).sum() for name in theta)
        allowed = off * differences.norm() + ROUNDING * torch.finfo(precision).eps * (1 + losses.norm())
        # Contributions of samples may cancel in a sum, so both comparisons are relative to their sizes.
        gaps = (differences - forward).norm(), (differences.sum() - backward).abs() / math.sqrt(len(losses))
        if not max(gaps) <= allowed:
            raise SolverError(
                f"neural: along a direction the losses of {len(losses)} samples change by "
                f"{float(differences.sum()):.4g}, where their derivatives say {float(forward.sum()):.4g} (forward), "
                f"{float(backward):.4g} (backward): a layer detaches what it passes on or has derivatives of its own; "
                "freeze what was not trained, requires_grad_(False), or use parameters: last"
            )

    def _few_batch(self, part: slice, precision: torch.dtype | None = None) -> Batch:
        """Return a slice of the first samples, converted to a precision if one is given."""
        x = mapped(lambda x: x[part].to(precision if precision and x.is_floating_point() else x.dtype), self.few)
        part = slice(part.start, part.start + length(x))
        weights = None if self.weights is None else self.weights[part].to(self.device)
        return Batch(part.start, x, self.labels[part].to(self.device), weights)

    def _check_agreement(self) -> None:
        """Refuse a network whose loss for a sample is random or depends on the other samples of its batch."""
        half = length(self.few) // 2
        parts = [slice(0, half), slice(half, None)] if half else [slice(0, None)]
        whole, *several = (
            torch.stack(self._tangents(self._few_batch(part), self.parameters)) for part in (slice(0, None), *parts)
        )
        halves = torch.cat(several, dim=1)
        if not torch.allclose(whole, halves, rtol=AGREEMENT, atol=AGREEMENT, equal_nan=True):
            raise SolverError(f"neural: {PASSES_DIFFER}")

    @staticmethod
    def _check_finite(losses: Tensor, first: int, part: str) -> None:
        if not torch.isfinite(losses).all():
            sample = first + int((~torch.isfinite(losses)).nonzero()[0])
            raise SolverError(
                f"neural: the loss of {part} sample {sample} is not finite: look at its values, or train again"
            )


def _tangents(
    function: Callable[[dict[str, Tensor]], Tensor], parameters: dict[str, Tensor], direction: dict[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """Return a function's values, and their changes along a direction: one forward-mode pass."""
    with written_out_tangents():
        return jvp(function, (parameters,), (direction,))


def _gradient(
    function: Callable[[dict[str, Tensor]], Tensor], parameters: dict[str, Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return a function's values and the gradient of their sum. torch.func.grad takes a second to import."""
    leaves = {name: value.detach().requires_grad_() for name, value in parameters.items()}
    values = function(leaves)
    gradients = torch.autograd.grad(values.sum(), list(leaves.values()), materialize_grads=True)
    return values.detach(), dict(zip(leaves, gradients, strict=True))


def _random_step(parameters: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """Return a fixed random direction in which every tensor changes by about the given share of its size."""
    random = torch.Generator().manual_seed(0)
    return {
        name: share * (value.square().mean().sqrt() + 0.01) * torch.randn(value.shape, generator=random).to(value)
        for name, value in parameters.items()
    }


def _add(total: dict[str, Tensor], more: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: total[name] + value if total else value for name, value in more.items()}
