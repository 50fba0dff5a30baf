"""Gradients by all layers, projected to a few numbers a sample (LoGra: Choe et al. 2024, arXiv 2405.13954).

The gradient by a layer's weights is Σ_t g_t a_tᵀ, a_t what the layer takes at position t and g_t the gradient that its
output gets there. Projected from both sides to `DIRECTIONS` directions it is Σ_t (Qᵀg_t)(Pᵀa_t)ᵀ, which never needs the
whole gradient. P and Q are the leading eigenvectors of the second moments of a and g in the first batch; of embeddings,
whose a_t are one-hot, P is random.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, unfold

from datagradient.influence.batches import Inputs
from datagradient.influence.losses import residuals
from datagradient.influence.modules import argument, logits_of, trainable
from datagradient.influence.solvers import SolverError

DIRECTIONS = 16  # of what a layer takes, and of the gradient of its output


class Projection:
    """Projects the gradients by one layer; `fit` finds the directions.

    Args:
        layer: Linear, Conv2d or Embedding.
    """

    def __init__(self, layer: nn.Module):
        self.layer = layer
        fan_out = layer.weight.shape[1] if isinstance(layer, nn.Embedding) else layer.weight.shape[0]
        words = isinstance(layer, nn.Embedding)
        fan_in = DIRECTIONS if words else layer.weight[0].numel() + (layer.bias is not None)
        self.shape = min(DIRECTIONS, fan_out), min(DIRECTIONS, fan_in)
        self.left: Tensor | None = None  # Q: (fan_out, k)
        self.right: Tensor | None = None  # P: (fan_in, k), of an embedding (words, k)

    @property
    def size(self) -> int:
        """Numbers that a gradient is projected to."""
        return self.shape[0] * self.shape[1]

    def fit(self, inputs: Tensor, gradients: Tensor) -> None:
        """Find the directions from a batch of what the layer takes and of its output's gradients."""
        g = self._by_position(gradients).flatten(0, 1)
        self.left = _leading(g.T @ g, self.shape[0])
        if isinstance(self.layer, nn.Embedding):
            random = torch.Generator().manual_seed(0)
            signs = torch.randn(len(self.layer.weight), self.shape[1], generator=random) / math.sqrt(self.shape[1])
            self.right = signs.to(gradients)
            return
        if isinstance(self.layer, nn.Conv2d):
            form = (self.layer.kernel_size, self.layer.dilation, self.layer.padding, self.layer.stride)
            inputs = unfold(inputs, *form).transpose(1, 2)
        a = inputs.flatten(0, -2)
        if self.layer.bias is not None:
            a = torch.cat([a, torch.ones_like(a[:, :1])], dim=1)
        self.right = _leading(a.T @ a, self.shape[1])

    def __call__(self, inputs: Tensor, gradients: Tensor) -> Tensor:
        """Return the projected gradients (n, size) of a batch."""
        if self.left is None or self.right is None:
            self.fit(inputs, gradients)
        assert self.left is not None and self.right is not None
        left = self._by_position(gradients) @ self.left
        return torch.bmm(left.transpose(1, 2), self._taken(inputs)).flatten(1)

    def _taken(self, inputs: Tensor) -> Tensor:
        """Return Pᵀa_t: (n, positions, k)."""
        assert self.right is not None
        if isinstance(self.layer, nn.Embedding):
            return self.right[inputs.flatten(1)]
        bias = self.layer.bias is not None
        weights, constant = (self.right[:-1], self.right[-1]) if bias else (self.right, None)
        if isinstance(self.layer, nn.Conv2d):
            kernels = weights.T.reshape(-1, *self.layer.weight.shape[1:])
            taken = conv2d(inputs, kernels, constant, self.layer.stride, self.layer.padding, self.layer.dilation)
            return taken.flatten(2).transpose(1, 2)
        taken = inputs @ weights
        taken = taken if constant is None else taken + constant
        return taken[:, None] if taken.dim() == 2 else taken.flatten(1, -2)

    def _by_position(self, gradients: Tensor) -> Tensor:
        """Return output gradients as (n, positions, fan_out)."""
        if isinstance(self.layer, nn.Conv2d):
            return gradients.flatten(2).transpose(1, 2)
        return gradients[:, None] if gradients.dim() == 2 else gradients.flatten(1, -2)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return its directions as plain arrays."""
        assert self.left is not None and self.right is not None
        return {"left": self.left.cpu().numpy(), "right": self.right.cpu().numpy()}


Projections = Mapping[str, Projection]


def projections_of(network: nn.Module) -> dict[str, Projection]:
    """Return a projection for every trainable layer that can be projected, by name.

    Raises:
        SolverError: there is none.
    """
    found = {name: Projection(layer) for name, layer in network.named_modules() if _is_projected(layer)}
    if not found:
        raise SolverError("record: the network has no trainable linear, convolutional or embedding layer")
    return found


def _is_projected(layer: nn.Module) -> bool:
    if isinstance(layer, nn.Conv2d) and (
        layer.groups > 1 or layer.padding_mode != "zeros" or isinstance(layer.padding, str)
    ):
        return False
    return isinstance(layer, nn.Linear | nn.Conv2d | nn.Embedding) and layer.weight.requires_grad


def _leading(moment: Tensor, count: int) -> Tensor:
    """Return the eigenvectors of the largest eigenvalues (n, count)."""
    return torch.linalg.eigh(moment.double())[1][:, -count:].to(moment.dtype).contiguous()


def projections_from(arrays: Mapping[str, np.ndarray], network: nn.Module) -> dict[str, Projection]:
    """Return the projections whose `Projection.arrays` stand under ``left/`` and ``right/`` and the layer's name."""
    found = {}
    for name in (key.removeprefix("left/") for key in arrays if key.startswith("left/")):
        found[name] = Projection(network.get_submodule(name))
        found[name].left, found[name].right = (torch.from_numpy(arrays[f"{side}/{name}"]) for side in ("left", "right"))
    return found


def projected_gradients(
    network: nn.Module, projections: Projections, x: Inputs, labels: Tensor, weights: Tensor | None
) -> Tensor:
    """Return the projected gradients (n, numbers) of the cross-entropy of samples, by a pass in evaluation mode.

    Args:
        network: gives logits (n, classes), or (n, 1) for two classes.
        projections: of its layers, by name.
        x: n samples, as the network takes them.
        labels: (n,) class numbers.
        weights: (n,) factors of the losses; None for 1.

    Raises:
        SolverError: a layer does not run, or runs twice.
    """
    parameters = {name: value.detach().requires_grad_() for name, value in trainable(network).items()}
    return with_gradients(network, projections, lambda: logits_of(network, parameters, x), labels, weights)


def with_gradients(
    network: nn.Module, projections: Projections, run: Callable[[], Tensor], labels: Tensor, weights: Tensor | None
) -> Tensor:
    """Return the projected gradients of the samples that `run` passes through the network, returning their logits."""
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def keep(name: str, arguments: tuple, named: dict, output: Tensor) -> None:
        if name in seen:
            raise SolverError(f"record: layer {name} runs twice in a pass; use parameters: last")
        seen[name] = argument(arguments, named).detach(), output

    hooks = [network.get_submodule(name).register_forward_hook(
                 lambda _, *passed, name=name: keep(name, *passed), with_kwargs=True)
             for name in projections]  # fmt: skip
    try:
        with torch.enable_grad():
            logits = run()
    finally:
        for hook in hooks:
            hook.remove()
    silent = [name for name in projections if name not in seen]
    if silent:
        raise SolverError(f"record: layer {silent[0]} does not run; freeze it, requires_grad_(False)")
    side = residuals(logits.detach(), labels, weights).reshape(logits.shape).to(logits.dtype)
    gradients = torch.autograd.grad(logits, [output for _, output in seen.values()], side)
    with torch.no_grad():
        parts = {name: projections[name](inputs, gradient)
                 for (name, (inputs, _)), gradient in zip(seen.items(), gradients, strict=True)}  # fmt: skip
    return torch.cat([parts[name] for name in projections], dim=1)
