"""In-run Shapley values of first order, in the form for Adam, as a rival of influence.

The value of a sample is what its part of the steps does to the validation loss, summed over the training (Wang et al.
2024, arXiv 2406.11011). Adam's step depends on a sample's gradient through both of its moments; its state before the
step is held fixed, and the step is linearised in the gradient (Ding et al. 2026, arXiv 2602.00329). With the validation
gradient of a few samples, drawn anew for each step, a sample's value is the product of its gradient with one vector,
which is computed from what layers take and what gradients their outputs get, without a gradient of a single sample.
Parameters of normalisation layers are left out.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, cross_entropy
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_pre_hook

from datagradient.data.training_set import TrainingSet
from datagradient.seeds import generator, integer_seed

JUDGES = 16  # validation samples in a step


def in_run_values(
    module: ModuleType, samples: TrainingSet, validation: tuple, settings: dict, seed: int
) -> tuple[np.ndarray, float]:
    """Train a network of the family `neural`; return the harm (n,) of its samples, above 0: harmful, and the seconds.

    The network is that of ``fit`` without it; `seed` is of its training.
    """
    n, size = len(samples.labels), int(settings["batch_size"])
    order = torch.Generator().manual_seed(integer_seed(seed, "order of samples"))
    batches = (rows for _ in range(int(settings["epochs"])) for rows in torch.randperm(n, generator=order).split(size))
    _, inputs = module.to_tensor(validation[0])
    found = InRun(batches, n, (inputs, torch.from_numpy(validation[1])))
    with found.watching():
        start = time.perf_counter()
        module.fit(samples.inputs, samples.labels, samples.n_classes, settings, seed)
        seconds = time.perf_counter() - start
    return found.harm.numpy(), seconds


class InRun:
    """Adds up the values while a network is trained with Adam on the mean cross-entropy of batches.

    Args:
        batches: numbers of the samples of each step.
        n: number of samples.
        validation: inputs and labels.
    """

    def __init__(self, batches: Iterator[Tensor], n: int, validation: tuple[Tensor, Tensor]):
        self.batches, self.validation, self.harm = batches, validation, torch.zeros(n, dtype=torch.float64)
        self.network: nn.Module | None = None
        self.passed: list[tuple[nn.Module, Tensor, list[Tensor]]] = []  # layers, what they took, and the gradients
        self.random, self.keeps = generator(0, "in-run"), True

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Within the context, every step of the one network that is trained counts."""
        hooks = [register_module_forward_pre_hook(self._begin), register_module_forward_hook(self._keep),
                 register_optimizer_step_pre_hook(self._step)]  # fmt: skip
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _begin(self, module: nn.Module, _: Any) -> None:
        self.network = self.network or module
        if module is self.network and self.keeps:
            self.passed = []

    def _keep(self, module: nn.Module, inputs: tuple, output: Tensor) -> None:
        if self.keeps and torch.is_grad_enabled() and isinstance(module, nn.Linear | nn.Conv2d | nn.Embedding):
            gradients: list[Tensor] = []
            output.register_hook(gradients.append)
            self.passed.append((module, inputs[0].detach(), gradients))

    def _step(self, optimiser: torch.optim.Optimizer, *_: Any) -> None:
        rows, passed = next(self.batches), self.passed
        directions = self._directions(optimiser, len(rows))
        with torch.no_grad():
            for layer, inputs, gradients in passed:
                # The loss is the mean over the batch.
                self.harm[rows] += _products(layer, inputs, gradients[0] * len(rows), directions).double()

    def _directions(self, optimiser: torch.optim.Optimizer, size: int) -> dict[nn.Parameter, Tensor]:
        """Return the vectors whose products with a sample's gradients are what its part of a step adds to the loss."""
        (group,) = optimiser.param_groups
        (beta1, beta2), rate = group["betas"], group["lr"]
        slopes = self._validation_gradient(group["params"])
        found = {}
        for parameter, slope in zip(group["params"], slopes, strict=True):
            state, gradient = optimiser.state[parameter], parameter.grad
            step = float(state["step"]) + 1 if state else 1.0
            first = (1 - beta1) * gradient + (beta1 * state["exp_avg"] if state else 0)
            second = (1 - beta2) * gradient.square() + (beta2 * state["exp_avg_sq"] if state else 0)
            one, two = 1 - beta1**step, 1 - beta2**step
            root = (second / two).sqrt()
            scale = root + group["eps"]
            by_first = (1 - beta1) / (one * scale)
            by_second = first * (1 - beta2) * gradient / (one * two * scale.square() * root.clamp(min=1e-12))
            found[parameter] = -rate / size * slope * (by_first - by_second)
        return found

    def _validation_gradient(self, parameters: list[nn.Parameter]) -> tuple[Tensor, ...]:
        inputs, labels = self.validation
        rows = torch.from_numpy(self.random.choice(len(labels), size=min(JUDGES, len(labels)), replace=False))
        assert self.network is not None
        self.keeps = False
        try:
            loss = cross_entropy(self.network(inputs[rows]), labels[rows])
            return torch.autograd.grad(loss, parameters)
        finally:
            self.keeps = True


def _products(layer: nn.Module, inputs: Tensor, gradients: Tensor, directions: dict[nn.Parameter, Tensor]) -> Tensor:
    """Return the products (n,) of samples' gradients by a layer's parameters with a direction."""
    weight, bias = directions[layer.weight], getattr(layer, "bias", None)
    if isinstance(layer, nn.Embedding):
        changes = weight[inputs.long()]
    elif isinstance(layer, nn.Conv2d):
        shift = None if bias is None else directions[bias]
        changes = conv2d(inputs, weight, shift, layer.stride, layer.padding, layer.dilation, layer.groups)
    else:
        changes = inputs @ weight.T + (0 if bias is None else directions[bias])
    return (changes * gradients).flatten(1).sum(dim=1)
