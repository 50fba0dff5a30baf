"""Gradients by all layers, projected to a few numbers a sample (LoGra: Choe et al. 2024, arXiv 2405.13954).

The gradient by a layer's weights is Σ_t g_t a_tᵀ, a_t what the layer takes at position t and g_t the gradient that its
output gets there. Projected from both sides to `DIRECTIONS` directions it is Σ_t (Qᵀg_t)(Pᵀa_t)ᵀ, which never needs the
whole gradient. P and Q are the leading eigenvectors of the second moments of a and g over some hundred samples; of
embeddings, whose a_t are one-hot, P is random.
"""

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge
from torch.nn.functional import conv2d, unfold

from datagradient.influence.losses import residuals
from datagradient.influence.modules import argument
from datagradient.influence.solvers import SolverError

DIRECTIONS = 16  # of what a layer takes, and of the gradient of its output


class Projection:
    """Projects the gradients by one layer. `see` batches, then `fit` finds the directions.

    Args:
        layer: Linear, Conv2d or Embedding.
    """

    def __init__(self, layer: nn.Module):
        self.layer = layer
        words = isinstance(layer, nn.Embedding)
        # A bias that is frozen does not count.
        self.bias = not words and layer.bias is not None and layer.bias.requires_grad
        fan_out = layer.weight.shape[1] if words else layer.weight.shape[0]
        fan_in = DIRECTIONS if words else layer.weight[0].numel() + self.bias
        self.shape = min(DIRECTIONS, fan_out), min(DIRECTIONS, fan_in)
        self.left: Tensor | None = None  # Q: (fan_out, k)
        self.right: Tensor | None = None  # P: (fan_in, k), of an embedding (words, k)
        self._moments: list[Tensor] = []  # of inputs and gradients

    @property
    def size(self) -> int:
        """Numbers that a gradient is projected to."""
        return self.shape[0] * self.shape[1]

    def see(self, inputs: Tensor, gradients: Tensor) -> None:
        """Add what the layer took of a batch, and its output's gradients, to the moments of both."""
        g = self._by_position(gradients).flatten(0, 1)
        moments = [g.T @ g]
        if not isinstance(self.layer, nn.Embedding):
            if isinstance(self.layer, nn.Conv2d):
                form = (self.layer.kernel_size, self.layer.dilation, self.layer.padding, self.layer.stride)
                inputs = unfold(inputs.float(), *form).transpose(1, 2)
            a = inputs.float().flatten(0, -2)
            if self.bias:
                a = torch.cat([a, torch.ones_like(a[:, :1])], dim=1)
            moments.append(a.T @ a)
        before = self._moments or [torch.zeros_like(moment) for moment in moments]
        self._moments = [one + other for one, other in zip(before, moments, strict=True)]

    def fit(self) -> None:
        """Find the directions: the leading ones of what was seen; of an embedding's inputs, random ones."""
        self.left = _leading(self._moments[0], self.shape[0])
        if isinstance(self.layer, nn.Embedding):
            random = torch.Generator().manual_seed(0)
            signs = torch.randn(len(self.layer.weight), self.shape[1], generator=random) / math.sqrt(self.shape[1])
            if self.layer.padding_idx is not None:
                signs[self.layer.padding_idx] = 0  # its values are held fixed
            self.right = signs.to(self.left)
        else:
            self.right = _leading(self._moments[1], self.shape[1])
        self._moments = []

    def __call__(self, inputs: Tensor, gradients: Tensor) -> Tensor:
        """Return the projected gradients (n, size) of a batch, in single precision."""
        assert self.left is not None and self.right is not None
        self.left, self.right = self.left.to(gradients.device), self.right.to(gradients.device)
        left = self._by_position(gradients) @ self.left
        return torch.bmm(left.transpose(1, 2), self._taken(inputs)).flatten(1)

    def _taken(self, inputs: Tensor) -> Tensor:
        """Return Pᵀa_t: (n, positions, k)."""
        assert self.right is not None
        if isinstance(self.layer, nn.Embedding):
            return self.right[inputs.flatten(1)]
        weights, constant = (self.right[:-1], self.right[-1]) if self.bias else (self.right, None)
        if isinstance(self.layer, nn.Conv2d):
            kernels = weights.T.reshape(-1, *self.layer.weight.shape[1:])
            form = (self.layer.stride, self.layer.padding, self.layer.dilation)
            return conv2d(inputs.float(), kernels, constant, *form).flatten(2).transpose(1, 2)
        taken = inputs.float() @ weights
        taken = taken if constant is None else taken + constant
        return taken[:, None] if taken.dim() == 2 else taken.flatten(1, -2)

    def _by_position(self, gradients: Tensor) -> Tensor:
        """Return output gradients as (n, positions, fan_out), in single precision."""
        gradients = gradients.float()
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
        SolverError: there is none, or one shares a parameter with another layer.
    """
    places = Counter(value for _, value in network.named_parameters(remove_duplicate=False))
    found = {name: Projection(layer) for name, layer in network.named_modules() if _is_projected(layer)}
    if not found:
        raise SolverError("projected gradients: the network has no trainable linear, convolutional or embedding "
                          "layer; use influence_scores with parameters: all")  # fmt: skip
    for name, projection in found.items():
        if any(places[value] > 1 for value in projection.layer.parameters(recurse=False)):
            raise SolverError(f"projected gradients: layer {name} shares a parameter with another; use "
                              "parameters: last, or influence_scores with all")  # fmt: skip
    return found


def left_out(network: nn.Module, projections: Projections) -> list[str]:
    """Return the names of the trainable parameters that no projection covers."""
    return [name for name, value in network.named_parameters()
            if value.requires_grad and name.rpartition(".")[0] not in projections]  # fmt: skip


def _is_projected(layer: nn.Module) -> bool:
    if isinstance(layer, nn.Conv2d) and (
        layer.groups > 1 or layer.padding_mode != "zeros" or isinstance(layer.padding, str)
    ):
        return False
    return isinstance(layer, nn.Linear | nn.Conv2d | nn.Embedding) and layer.weight.requires_grad


def _leading(moment: Tensor, count: int) -> Tensor:
    """Return the eigenvectors of the largest eigenvalues (n, count)."""
    return torch.linalg.eigh(moment.double())[1][:, -count:].float().contiguous()


def projections_from(arrays: Mapping[str, np.ndarray], network: nn.Module) -> dict[str, Projection]:
    """Return the projections whose `Projection.arrays` stand under ``left/`` and ``right/`` and the layer's name."""
    found = {}
    for name in (key.removeprefix("left/") for key in arrays if key.startswith("left/")):
        found[name] = Projection(network.get_submodule(name))
        found[name].left, found[name].right = (torch.from_numpy(arrays[f"{side}/{name}"]) for side in ("left", "right"))
    return found


def gradients_by_layer(
    network: nn.Module, names: Collection[str], run: Callable[[], Tensor], labels: Tensor, weights: Tensor | None
) -> dict[str, tuple[Tensor, Tensor]]:
    """Return what layers take of some samples, and the gradients that their outputs get by the samples' cross-entropy.

    Args:
        network: the layers' network.
        names: of layers; those that do not run in the pass are left out.
        run: passes the samples through the network, and returns their logits (n, classes), or (n, 1) for two classes.
        labels: (n,) class numbers.
        weights: (n,) factors of the losses; None for 1.

    Raises:
        SolverError: a layer runs twice.
    """
    seen: dict[str, tuple[Tensor, Any]] = {}

    def keep(name: str, arguments: tuple, named: dict, output: Tensor) -> None:
        if name in seen:
            raise SolverError(f"projected gradients: layer {name} runs twice in a pass; use parameters: last")
        # The edge, since an operation in place may turn the tensor into its own result afterwards.
        seen[name] = argument(arguments, named).detach(), get_gradient_edge(output)

    hooks = [network.get_submodule(name).register_forward_hook(
                 lambda _, *passed, name=name: keep(name, *passed), with_kwargs=True)
             for name in names]  # fmt: skip
    try:
        with torch.enable_grad():
            logits = run()
    finally:
        for hook in hooks:
            hook.remove()
    side = residuals(logits.detach(), labels, weights).reshape(logits.shape).to(logits.dtype)
    gradients = torch.autograd.grad(logits, [edge for _, edge in seen.values()], side)
    return {name: (inputs, gradient) for (name, (inputs, _)), gradient in zip(seen.items(), gradients, strict=True)}


def with_gradients(
    network: nn.Module, projections: Projections, run: Callable[[], Tensor], labels: Tensor, weights: Tensor | None
) -> Tensor:
    """Return the projected gradients (n, numbers) of samples; arguments and errors are those of `gradients_by_layer`.

    Raises:
        SolverError: a layer does not run.
    """
    seen = gradients_by_layer(network, projections, run, labels, weights)
    for name in projections:
        if name not in seen:
            raise SolverError(f"projected gradients: layer {name} runs for some samples alone; use parameters: last")
    with torch.no_grad():
        return torch.cat([projection(*seen[name]) for name, projection in projections.items()], dim=1)
