"""Influence problem of a network's last layer: logistic regression on the output of the layers before it.

The earlier layers are held fixed, like the structure of the trees for boosted trees. Gradients and the Gauss–Newton
matrix (for this layer the exact Hessian) have a closed form. The cost is one forward pass over the training set, and
another over the samples that the curvature is averaged over, unless these are the whole training set; of samples whose
`datagradient.influence.record.Record` was kept while the network was trained, there is no pass.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from datagradient.influence.batches import Inputs, Samples, length
from datagradient.influence.glm import CHECKED, LinearProblem, residuals_of, weighted
from datagradient.influence.labels import binary_numbers, class_numbers
from datagradient.influence.modules import (
    PASSES_DIFFER,
    argument,
    as_samples,
    first_pass,
    last_linear,
    logits_of,
    restored_generators,
    trainable,
)
from datagradient.influence.record import Record
from datagradient.influence.solvers import SolverError

Passed = tuple[int, Tensor, Tensor]  # number of the first sample, the last layer's inputs, and logits
AGREEMENT = 1e-3  # tolerance between the network's logits and those of its last layer, in single precision


class LastLayerProblem(LinearProblem):
    """Gradients and curvature products of the last linear layer of a trained network.

    The last layer is the linear layer that runs last, whatever the order in which layers were defined. A parameter
    vector is its weights row by row, then its bias. The loss is cross-entropy (binary cross-entropy for one logit),
    whatever the network was trained with: a network does not reveal label smoothing or squared error. Weight decay
    belongs to the optimiser and not to the objective, so it is not in H.

    Args:
        network: on the device to compute on; it ends in an `nn.Linear` with a bias. It is run in evaluation mode and
            its own mode is restored afterwards, see `datagradient.influence.modules`.
        to_tensor: turns the inputs of a batch into what the network takes: a tensor, or a tuple or mapping of tensors.
        inputs: n training inputs: an array, a tuple or mapping of arrays, `datagradient.influence.batches.Samples`, or
            a `Record`. A record may stand for validation samples too.
        labels: training labels, in the form that `NetworkProblem` takes.
        rows: the training samples that H is averaged over; None for all.
        batch_size: samples at once; the results do not depend on it.
        weights: (n,) factors of the training samples' losses; None for 1.

    Raises:
        SolverError: the network, its inputs or the labels cannot be represented, e.g. because the logits are not the
            output of the last linear layer, or that layer is frozen.
    """

    def __init__(
        self,
        network: nn.Module,
        to_tensor: Callable[[Any], Inputs],
        inputs: Any,
        labels: np.ndarray,
        rows: np.ndarray | None = None,
        batch_size: int = 500,
        weights: np.ndarray | None = None,
    ):
        self.network, self.to_tensor, self.batch_size, self._passed = network, to_tensor, batch_size, []
        self.device = next(iter(trainable(network).values())).device
        if isinstance(inputs, Record):
            if inputs.projections is not None:
                raise SolverError("record: it holds projected gradients, and parameters are last: train again")
            self.layer = network.get_submodule(inputs.layer)
            theta = (value.detach().cpu().double().numpy() for value in (self.layer.weight, self.layer.bias))
            super().__init__(inputs, labels, *theta, 0.0, rows, weights)
            return
        samples = as_samples(inputs, to_tensor, batch_size)
        with restored_generators(self.device), torch.no_grad():
            few = samples[: min(CHECKED, batch_size)]
            _, x = first_pass(network, lambda: next(iter(few.batches(self.device))))
            self.layer = first_pass(network, lambda: last_linear(network, x))
            theta = (value.detach().cpu().double().numpy() for value in (self.layer.weight, self.layer.bias))
            super().__init__(samples, labels, *theta, 0.0, rows, weights)
            self.few_inputs = first_pass(network, lambda: self._checked_activations(few, x))

    def inputs(self, features: Any) -> np.ndarray:
        """Return the last layer's inputs for some samples: (n, width), float64."""
        return _activations(self._batches(features))

    @cached_property
    def curvature_inputs(self) -> np.ndarray:
        """The last layer's inputs for the samples that H is averaged over; kept for `project` if these are all."""
        if self.rows is not None:
            return self.inputs(self.features[self.rows])
        self._passed = list(self._batches(self.features))
        return _activations(self._passed)

    def project(self, direction: np.ndarray) -> np.ndarray:
        """Return g_iᵀ·direction for every training sample, batch by batch, with at most one forward pass.

        Memory does not grow with n, unless H is averaged over all samples. Only torch is used: NumPy's own threads
        would spin between torch's batches and keep the processor busy.
        """
        weights, bias = (torch.from_numpy(part).to(self.device) for part in self._parts(direction))
        numbers = torch.from_numpy(self.labels.astype(np.int64, copy=not self.labels.flags.writeable))
        labels, products = numbers.to(self.device), []
        factors = None if self.weights is None else torch.from_numpy(self.weights)[:, None].to(self.device)
        for start, activations, logits in self._on_device():
            targets = labels[start : start + len(logits), None]
            if self.n_margins == 1:
                residuals = torch.sigmoid(logits.double()) - targets
            else:
                residuals = torch.softmax(logits.double(), dim=1)
                residuals.scatter_add_(1, targets, torch.full_like(targets, -1.0, dtype=residuals.dtype))
            residuals = residuals if factors is None else residuals * factors[start : start + len(logits)]
            products.append(((activations.double() @ weights.T + bias) * residuals).sum(dim=1))
        return torch.cat(products).cpu().numpy()

    def _on_device(self) -> Iterator[Passed]:
        """Yield the training samples' batches on the network's device; a record may lie elsewhere."""
        for start, *values in self._passed or self._batches(self.features):
            yield start, *(value.to(self.device) for value in values)

    def check_age(self, direction: np.ndarray, products: np.ndarray) -> None:
        """Refuse a record whose scores are not those of the network as trained.

        Args:
            direction: S.
            products: g_iᵀS (n,) of all training samples, by `project`.

        Raises:
            AgedRecord: some samples, whose values were computed again, rank differently.
        """
        if not isinstance(self.features, Record) or self.features.checked is None:
            return
        samples, values = self.features.checked.samples, self.features.checked.values
        inputs, labels = values.cpu().double().numpy(), self.labels[samples]
        sides = weighted(residuals_of(self.probabilities(self.theta, inputs), labels), self._weights_of(samples))
        now = (self.margins(direction, inputs) * sides).sum(axis=1)
        self.agreement = self.features.agreement(now, products[samples])

    @torch.no_grad()
    def _batches(self, features: Any) -> Iterator[Passed]:
        """Yield the number of the first sample, the last layer's inputs, and the network's logits.

        Of a record they are the logits that the layer, as it is now, gives for what it took then.
        """
        if isinstance(features, Record):
            for start, activations in features.chunks():
                weight, bias = (value.detach().to(activations) for value in (self.layer.weight, self.layer.bias))
                yield start, activations, linear(activations, weight, bias)
            return
        seen: list[Tensor] = []
        hook = self.layer.register_forward_hook(lambda _, inputs, named, output: seen.append(argument(inputs, named)),
                                                  with_kwargs=True)  # fmt: skip
        try:
            for start, x in as_samples(features, self.to_tensor, self.batch_size).batches(self.device):
                logits = logits_of(self.network, {}, x)
                activations = seen.pop()
                self._check_logits(activations, logits, start)
                if activations.dim() != 2:
                    raise SolverError(
                        f"neural: what the last linear layer takes has the shape {tuple(activations.shape)} for "
                        f"{length(x)} samples; supported is (n, width): use parameters: all"
                    )
                finite = torch.isfinite(activations).all(dim=1)
                if not finite.all():
                    sample = start + int((~finite).nonzero()[0])
                    raise SolverError(f"neural: what the last layer takes of sample {sample} is not finite: look at "
                                      "its values, or train again")  # fmt: skip
                yield start, activations, logits
        finally:
            hook.remove()

    def _check_logits(self, activations: Tensor, logits: Tensor, start: int) -> None:
        """Refuse a network whose logits are not those of its last layer for some sample."""
        if activations.dim() != 2:
            return  # refused with its shape
        expected = linear(activations, self.layer.weight, self.layer.bias)
        if expected.shape != logits.shape or not torch.allclose(expected, logits, AGREEMENT, AGREEMENT, equal_nan=True):
            raise SolverError(
                "neural: the logits are not those of the last linear layer; use parameters: all, and leave out a last "
                f"Sigmoid or Softmax (batch from sample {start})"
            )

    def _checked_activations(self, few: Samples, x: Inputs) -> np.ndarray:
        """Return the last layer's inputs for the first samples, of which `x` is the first batch.

        A network with further operations after its last linear layer, or with random logits, is refused.
        """
        activations = self.inputs(few)
        again = np.concatenate([self.inputs(few[i : i + 1]) for i in range(min(length(x), 4))])
        if not np.allclose(again, activations[: len(again)], rtol=AGREEMENT, atol=AGREEMENT):
            raise SolverError(f"neural: {PASSES_DIFFER}")
        return activations

    def _check_minimum(self) -> None:
        """Check nothing: training ends before a minimum, and weight decay is not part of the objective."""

    def class_numbers(self, labels: Any, n: int, part: str) -> np.ndarray:
        """Return the labels of n samples of a part (``"training"``, ``"validation"``) as numbers, or refuse them."""
        numbers = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else labels
        return (
            binary_numbers(numbers, n, part) if self.n_margins == 1 else class_numbers(numbers, n, self.n_classes, part)
        )


def _activations(batches: Iterable[Passed]) -> np.ndarray:
    return torch.cat([activations.cpu() for _, activations, _ in batches]).double().numpy()
