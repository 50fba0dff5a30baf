"""Influence problem of neural networks: curvature and per-sample products without per-sample gradients.

Products are means over samples whatever the size of the batches. H is the generalised Gauss–Newton matrix
(1/m) Σ_i J_iᵀ M_i J_i (Schraudolph 2002), J_i the Jacobian of a sample's logits and M_i = diag(p_i) − p_i p_iᵀ, or
the exact Hessian of the mean loss. For one logit it is m_i = p_i (1 − p_i). Weight decay is the optimiser's, no part of
the objective, and not in H.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import grad, jvp
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from datagradient.influence.ekfac import EKFAC
from datagradient.influence.labels import count
from datagradient.influence.modules import (
    PASSES_DIFFER,
    as_tensor,
    first_pass,
    logits_of,
    network_labels,
    refuse_probabilities,
    restored_generators,
    trainable,
)
from datagradient.influence.solvers import Matvec, SolverError
from datagradient.influence.tangents import written_out_tangents

AGREEMENT = 1e-4  # of two passes over the same samples in single precision
CHECKED, DIFFERENCED = 32, 4  # samples that two passes are compared on, and that have a finite difference
# The step of that difference as a share of the parameters, and what it may be off by, in double precision; and where a
# network cannot compute in double precision. There rounding forbids a step too small for activations to change sides.
DOUBLE, SINGLE = (1e-7, 0.02), (3e-3, 0.5)
ROUNDING = 50  # of losses, in units of their precision


class NetworkProblem:
    """Gradients and curvature products of a trained network on its training set.

    The loss is cross-entropy, for one logit binary cross-entropy, of the logits that the network returns: weights of
    classes or samples, label smoothing and squared error cannot be seen from a network. A parameter vector is all
    trainable parameters (`requires_grad`) in the network's order, flattened, as a float64 array; those that several
    layers share count once. The network computes in its own precision.

    Args:
        network: on the device to compute on. It is run in evaluation mode and comes back in its own, see
            `datagradient.influence.modules`.
        to_tensor: turns some inputs into what the network takes.
        inputs: training inputs, n of them.
        labels: training labels (n,) as the network was trained on them, 0 … classes − 1; NumPy's or torch's. For one
            logit 0 and 1, floats and the shape (n, 1) too.
        rows: the training samples that H is averaged over; None for all.
        batch_size: samples at once; the results do not depend on it.
        curvature: ``"ggn"`` or ``"hessian"``.

    Raises:
        SolverError: the network, its inputs or the labels cannot be represented; the message says what can.
    """

    def __init__(
        self,
        network: nn.Module,
        to_tensor: Callable[[Any], Tensor],
        inputs: Any,
        labels: np.ndarray,
        rows: np.ndarray | None = None,
        batch_size: int = 500,
        curvature: str = "ggn",
    ):
        self.network, self.to_tensor, self.batch_size = network, to_tensor, batch_size
        self.parameters, self.inputs = trainable(network), as_tensor(to_tensor, inputs)
        self.product = {"ggn": self._ggn_product, "hessian": self._hessian_product}[curvature]
        first = next(iter(self.parameters.values()))
        self.device, self.dtype = first.device, first.dtype
        few = self.inputs[:2].to(self.device)
        with restored_generators(self.device), torch.no_grad():
            logits = first_pass(network, lambda: self._logits(self.parameters, few))
            refuse_probabilities(network, few, logits)
            self.n_logits = logits.shape[1]
            self.labels = self._targets(labels, self.inputs, "training")
            self.rows = np.arange(len(self.labels)) if rows is None else rows
            first_pass(network, self._check_agreement)

    def mean_gradient(self, inputs: Any, labels: np.ndarray) -> np.ndarray:
        """Return the gradient of the mean loss on any samples, shape of a parameter vector.

        Raises:
            SolverError: labels that are no classes of the network, or a loss that is not finite.
        """
        samples = as_tensor(self.to_tensor, inputs)
        targets = self._targets(labels, samples, "validation")
        total: dict[str, Tensor] = {}
        for batch, x, y in self._batches(samples, targets):
            losses, gradient = _gradient(lambda p: self._losses(p, x, y), self.parameters)  # noqa: B023
            self._check_finite(losses, batch, "validation")
            total = _add(total, gradient)
        return self._flat(total) / len(targets)

    def matvec(self, vector: np.ndarray) -> np.ndarray:
        """Return H·vector, the mean over the chosen samples, no damping."""
        return self.sampled(self.rows)(vector)

    def sampled(self, rows: np.ndarray) -> Matvec:
        """Return the product with the H of the given training samples, no damping."""
        inputs, labels = self.inputs[rows], self.labels[rows]

        def product(vector: np.ndarray) -> np.ndarray:
            tangents, total = self._parts(vector), {}
            for _, x, y in self._batches(inputs, labels):
                total = _add(total, self.product(x, y, tangents))
            return self._flat(total) / len(rows)

        return product

    def preconditioner(self, damping: float) -> None:
        """Return None: a network has no cheap one; `ekfac` is asked for by an option of CG."""

    def ekfac(self, damping: float) -> Matvec:
        """Return the product with the inverse of EK-FAC's approximation of the GGN, damped."""
        approximation = EKFAC(self.network, set(self.parameters), self._logits_with_gradients)
        for _, x, _ in self._batches(self.inputs[self.rows], self.labels[self.rows]):
            approximation.see(x)
        approximation.find_bases()
        for _, x, _ in self._batches(self.inputs[self.rows], self.labels[self.rows]):
            approximation.measure(x)
        return lambda vector: self._flat(approximation.solve(self._parts(vector), damping))

    def project(self, direction: np.ndarray) -> np.ndarray:
        """Return g_iᵀ·direction for every training sample: the tangents of all losses, from one forward-mode pass."""
        tangents, products = self._parts(direction), []
        for batch, x, y in self._batches(self.inputs, self.labels):
            losses, product = self._tangents(x, y, tangents)
            self._check_finite(losses, batch, "training")
            products.append(product.cpu())
        return torch.cat(products).double().numpy()

    @torch.no_grad()
    def _tangents(self, x: Tensor, y: Tensor, tangents: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return every sample's loss, and its change along a parameter vector."""
        return _tangents(lambda parameters: self._losses(parameters, x, y), self.parameters, tangents)

    def _losses(self, parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        logits = self._logits(parameters, x)
        if self.n_logits == 1:
            return binary_cross_entropy_with_logits(logits[:, 0], y.to(logits.dtype), reduction="none")
        return cross_entropy(logits, y, reduction="none")

    def _logits(self, parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        return logits_of(self.network, parameters, x)

    def _logits_with_gradients(self, x: Tensor) -> Tensor:
        return self._logits({name: value.detach().requires_grad_() for name, value in self.parameters.items()}, x)

    def _ggn_product(self, x: Tensor, y: Tensor, tangents: dict[str, Tensor]) -> dict[str, Tensor]:
        def logits(parameters: dict[str, Tensor]) -> Tensor:
            return self._logits(parameters, x)

        with torch.no_grad():
            output, change = _tangents(logits, self.parameters, tangents)
        if self.n_logits == 1:
            p = torch.sigmoid(output)
            change = p * (1 - p) * change
        else:
            p = torch.softmax(output, dim=1)
            change = p * (change - (p * change).sum(dim=1, keepdim=True))
        return _gradient(lambda parameters: logits(parameters) * change, self.parameters)[1]

    def _hessian_product(self, x: Tensor, y: Tensor, tangents: dict[str, Tensor]) -> dict[str, Tensor]:
        gradient = grad(lambda parameters: self._losses(parameters, x, y).sum())
        return first_pass(self.network, lambda: jvp(gradient, (self.parameters,), (tangents,))[1])

    def _batches(self, samples: Tensor, targets: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yield the number of the first sample, and samples and targets on the device."""
        for start in range(0, len(targets), self.batch_size):
            part = slice(start, start + self.batch_size)
            yield start, samples[part].to(self.device), targets[part].to(self.device)

    def _parts(self, vector: np.ndarray) -> dict[str, Tensor]:
        flat = torch.from_numpy(vector).to(self.device, self.dtype)
        pieces = flat.split([value.numel() for value in self.parameters.values()])
        return {
            name: piece.view_as(value)
            for (name, value), piece in zip(self.parameters.items(), pieces, strict=True)
        }  # fmt: skip

    def _flat(self, parts: dict[str, Tensor]) -> np.ndarray:
        return torch.cat([parts[name].reshape(-1) for name in self.parameters]).double().cpu().numpy()

    def check(self) -> None:
        """Refuse a network whose derivatives are not those of its own losses: finite differences on a few samples.

        Raises:
            SolverError: the two differ, as where a part of the network is detached or has derivatives of its own.
        """
        try:
            self._check_derivatives(torch.float64, *DOUBLE)
        except RuntimeError:  # the network holds constants in single precision
            self._check_derivatives(self.dtype, *SINGLE)

    def _check_derivatives(self, precision: torch.dtype, share: float, off: float) -> None:
        x, y = self.inputs[:DIFFERENCED].to(self.device), self.labels[:DIFFERENCED].to(self.device)
        x = x.to(precision) if x.is_floating_point() else x
        tensors = {
            name: value.detach().to(precision)
            for name, value in [*self.network.named_parameters(), *self.network.named_buffers()]
            if value.is_floating_point()
        }
        theta = {name: tensors[name] for name in self.parameters}
        step = _random_step(theta, share)

        def losses_at(parameters: dict[str, Tensor]) -> Tensor:
            return self._losses({**tensors, **parameters}, x, y)

        with torch.no_grad():
            ahead, behind = (
                losses_at({name: value + sign * step[name] for name, value in theta.items()}) for sign in (1, -1)
            )
            forward = _tangents(losses_at, theta, step)[1]
        losses, gradient = _gradient(losses_at, theta)
        differences, backward = (ahead - behind) / 2, sum((gradient[name] * step[name]).sum() for name in theta)
        allowed = off * differences.norm() + ROUNDING * torch.finfo(precision).eps * (1 + losses.norm())
        # Samples' parts may cancel in a sum: both comparisons are by their sizes.
        gaps = (differences - forward).norm(), (differences.sum() - backward).abs() / math.sqrt(len(y))
        if not max(gaps) <= allowed:
            raise SolverError(
                f"neural: along a direction the losses of {len(y)} samples change by {float(differences.sum()):.4g}, "
                f"where their derivatives say {float(forward.sum()):.4g} (forward), {float(backward):.4g} (backward): "
                "a layer detaches what it passes on or has derivatives of its own; freeze what was not trained, "
                "requires_grad_(False), or use parameters: last"
            )

    def _targets(self, labels: Any, samples: Tensor, part: str) -> Tensor:
        numbers = network_labels(labels, count(samples), self.n_logits, part)
        return torch.from_numpy(numbers.astype(np.int64, copy=not numbers.flags.writeable))

    def _check_agreement(self) -> None:
        """Refuse a network whose loss for a sample depends on chance or on the other samples of its batch."""
        x, y = self.inputs[:CHECKED].to(self.device), self.labels[:CHECKED].to(self.device)
        half = (len(y) + 1) // 2
        whole, first, second = (
            torch.stack(self._tangents(x[part], y[part], self.parameters))
            for part in (slice(None), slice(half), slice(half, None))
        )
        halves = torch.cat([first, second], dim=1)
        if not torch.allclose(whole, halves, rtol=AGREEMENT, atol=AGREEMENT, equal_nan=True):
            raise SolverError(f"neural: {PASSES_DIFFER}")

    @staticmethod
    def _check_finite(losses: Tensor, first: int, part: str) -> None:
        if not torch.isfinite(losses).all():
            sample = first + int((~torch.isfinite(losses)).nonzero()[0])
            raise SolverError(f"neural: the loss of {part} sample {sample} is not finite")


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
    """Return a random direction in which every tensor changes by about a share of its size; it is always the same."""
    random = torch.Generator().manual_seed(0)
    return {
        name: share * (value.square().mean().sqrt() + 0.01) * torch.randn(value.shape, generator=random).to(value)
        for name, value in parameters.items()
    }


def _add(total: dict[str, Tensor], more: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: total[name] + value if total else value for name, value in more.items()}
