"""Losses of a network's outputs: one value per sample, and the curvature with respect to the outputs.

With f_i the outputs of sample i and ℓ its loss, the Gauss–Newton matrix is the mean of J_iᵀ M_i J_i, M_i = ∂²ℓ/∂f_i²
(Schraudolph 2002). For cross-entropy, binary cross-entropy and squared error M_i has a closed form; for other losses
it is computed by differentiation.
"""

import copy
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import grad, jvp
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

from datagradient.influence.labels import binary_numbers, class_numbers
from datagradient.influence.solvers import SolverError


class Loss(Protocol):
    """A loss of outputs (n, …)."""

    def targets(self, labels: Any, outputs: Tensor, n: int, part: str) -> Tensor:
        """Return the labels of n samples of a part ("training", "validation") in the form that `values` takes.

        Raises:
            SolverError: the labels do not fit a network with such outputs (of a few samples).
        """

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of every sample (n,)."""

    def curvature(self, outputs: Tensor, targets: Tensor, change: Tensor) -> Tensor:
        """Return M_i·change_i of every sample, in the shape of the outputs."""


class CrossEntropy:
    """Cross-entropy of the softmax of logits (n, classes); labels 0 … classes − 1."""

    def targets(self, labels: Any, outputs: Tensor, n: int, part: str) -> Tensor:
        """Return class numbers (n,)."""
        return _integers(class_numbers(_plain(labels), n, outputs.shape[1], part))

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of every sample (n,)."""
        return cross_entropy(outputs, targets, reduction="none")

    def curvature(self, outputs: Tensor, targets: Tensor, change: Tensor) -> Tensor:
        """Return (diag(p_i) − p_i p_iᵀ)·change_i."""
        p = torch.softmax(outputs, dim=1)
        return p * (change - (p * change).sum(dim=1, keepdim=True))


class BinaryCrossEntropy:
    """Binary cross-entropy of one logit (n, 1); labels 0 and 1, also as floats or with shape (n, 1)."""

    def targets(self, labels: Any, outputs: Tensor, n: int, part: str) -> Tensor:
        """Return class numbers (n,)."""
        return _integers(binary_numbers(_plain(labels), n, part))

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of every sample (n,)."""
        return binary_cross_entropy_with_logits(outputs[:, 0], targets.to(outputs.dtype), reduction="none")

    def curvature(self, outputs: Tensor, targets: Tensor, change: Tensor) -> Tensor:
        """Return p_i (1 − p_i)·change_i."""
        p = torch.sigmoid(outputs)
        return p * (1 - p) * change


class SquaredError:
    """The mean over a sample's outputs of (f − y)², like torch's MSELoss; labels in the shape of the outputs."""

    def targets(self, labels: Any, outputs: Tensor, n: int, part: str) -> Tensor:
        """Return labels (n, …) in the shape of the outputs; a last axis of length 1 may be left out."""
        targets = labels if isinstance(labels, Tensor) else torch.from_numpy(np.array(labels, dtype=np.float64))
        shape = (n, *outputs.shape[1:])
        column = {shape, (n, *shape[1:], 1)} | ({shape[:-1]} if shape[-1] == 1 and len(shape) > 1 else set())
        if tuple(targets.shape) not in column:
            raise SolverError(f"{part} labels have the shape {tuple(targets.shape)}, and the network's outputs for "
                              f"them {shape}: pass one number for each output")  # fmt: skip
        finite = torch.isfinite(targets.reshape(n, -1)).all(dim=1)
        if not finite.all():
            raise SolverError(f"{part} label at sample {int((~finite).nonzero()[0])} is not finite: leave it out")
        return targets.reshape(shape).detach().cpu().double()

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of every sample (n,)."""
        return (outputs - targets.to(outputs.dtype)).square().reshape(len(outputs), -1).mean(dim=1)

    def curvature(self, outputs: Tensor, targets: Tensor, change: Tensor) -> Tensor:
        """Return 2/k·change_i, k the number of a sample's outputs."""
        return change * (2 / outputs[0].numel())


class Differentiated:
    """A loss defined by the caller, ``function(outputs, targets) -> (n,)``; its curvature is found by differentiation.

    It must be twice differentiable in the outputs. If it is not convex in them, a solve may meet negative curvature,
    which is an error.
    """

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]):
        self.function = function

    def targets(self, labels: Any, outputs: Tensor, n: int, part: str) -> Tensor:
        """Return the labels (n, …) as a tensor."""
        targets = labels.detach().cpu() if isinstance(labels, Tensor) else torch.from_numpy(np.array(labels))
        if len(targets) != n:
            raise SolverError(f"{len(targets)} {part} labels for {n} samples; pass one a sample")
        return targets

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of every sample (n,).

        Raises:
            SolverError: the function returns something else.
        """
        values = self.function(outputs, targets)
        if not isinstance(values, Tensor) or values.shape != (len(outputs),):
            form = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise SolverError(f"loss returns {form} for {len(outputs)} samples; return one value a sample, a tensor "
                              f"({len(outputs)},): reduction='none', and a mean over further axes")  # fmt: skip
        return values

    def curvature(self, outputs: Tensor, targets: Tensor, change: Tensor) -> Tensor:
        """Return the product with the second derivative."""
        slope = grad(lambda values: self.function(values, targets).sum())
        return jvp(slope, (outputs,), (change,))[1]


def residuals(logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    """Return the derivative of every sample's cross-entropy by its logits (n, classes) or (n, 1).

    Args:
        logits: (n, classes), or one for two classes.
        labels: (n,) class numbers, on any device.
        weights: (n,) factors of the losses; None for 1.
    """
    labels = labels.to(logits.device).reshape(len(logits))
    logits = logits.reshape(len(logits), -1).to(torch.promote_types(logits.dtype, torch.float32))
    if logits.shape[1] == 1:
        found = torch.sigmoid(logits) - labels[:, None].to(logits.dtype)
    else:
        found = torch.softmax(logits, dim=1) - one_hot(labels.long(), logits.shape[1])
    return found if weights is None else found * weights.to(found)[:, None]


LOSSES: dict[str, Callable[[], Loss]] = {
    "cross_entropy": CrossEntropy,
    "binary_cross_entropy": BinaryCrossEntropy,
    "squared_error": SquaredError,
}


def loss_for(loss: "str | Callable | Loss | None", outputs: Tensor) -> Loss:
    """Return the loss of a network, given its outputs for a few samples.

    Args:
        loss: one of `LOSSES`, or a function (outputs, targets) -> (n,). A torch loss module that returns a mean is used
            with reduction "none". None means cross-entropy, or binary cross-entropy for one logit.
        outputs: for a few samples.

    Raises:
        SolverError: there is no such loss, or it is for outputs of another shape.
    """
    if loss is None:
        return BinaryCrossEntropy() if outputs.dim() == 2 and outputs.shape[1] == 1 else CrossEntropy()
    if isinstance(loss, str):
        if loss not in LOSSES:
            raise SolverError(f"no loss {loss!r}; legal: {', '.join(LOSSES)}, or a function of (outputs, targets)")
        if loss == "cross_entropy" and outputs.shape[1] < 2:
            raise SolverError("loss cross_entropy, and the network has one output; pass loss='binary_cross_entropy'")
        if loss == "binary_cross_entropy" and outputs.shape[1] != 1:
            raise SolverError(f"loss binary_cross_entropy, and the network has {outputs.shape[1]} outputs; pass "
                              "loss='cross_entropy', or a function for several labels a sample")  # fmt: skip
        return LOSSES[loss]()
    if not callable(loss):
        raise SolverError(f"loss is a {type(loss).__name__}; pass one of {', '.join(LOSSES)}, or a function")
    if isinstance(loss, nn.Module) and getattr(loss, "reduction", "none") in ("mean", "sum"):
        return Differentiated(_by_sample(loss))
    return Differentiated(loss)


def _by_sample(loss: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a loss module without its reduction over samples; over a sample's outputs it keeps it."""
    values_of = copy.copy(loss)
    reduction, values_of.reduction = loss.reduction, "none"

    def by_sample(outputs: Tensor, targets: Tensor) -> Tensor:
        values = values_of(outputs, targets)
        rows = values.reshape(len(values), -1)
        return rows.mean(dim=1) if reduction == "mean" else rows.sum(dim=1)

    return by_sample


def takes_logits(loss: "str | Callable | Loss | None") -> bool:
    """Return whether a loss takes logits (n, classes) or (n, 1); the outputs are then checked for that form."""
    return loss is None or loss in ("cross_entropy", "binary_cross_entropy")


def _plain(labels: Any) -> Any:
    return labels.detach().cpu().numpy() if isinstance(labels, Tensor) else labels


def _integers(numbers: np.ndarray) -> Tensor:
    return torch.from_numpy(numbers.astype(np.int64, copy=not numbers.flags.writeable))
