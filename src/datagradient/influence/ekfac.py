"""EK-FAC (George et al. 2018): a network's Gauss–Newton matrix, layer by layer, in a Kronecker eigenbasis.

For a layer with inputs a_t and output gradients g_t at its positions t, the eigenvectors of the second moments of a
and of g give a basis in which the layer's block of the GGN is close to diagonal; the diagonal is then measured:
the mean square of the samples' gradients in that basis. Weights shared over positions are treated exactly in
that second step. Embeddings have one-hot inputs, so their input basis is known; scales and shifts of
normalisation layers have a separate diagonal.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge
from torch.nn.functional import group_norm, unfold

from datagradient.influence.batches import Inputs, length
from datagradient.influence.modules import argument
from datagradient.influence.solvers import SolverError

SIGN_SEED = 0  # seed of the random signs below, so that the approximation is the same in every run


class EKFAC:
    """The approximation for one network: `see` all samples, `find_bases`, `measure` all samples, then `solve`.

    Args:
        network: its trainable parameters are in Linear, Conv2d, Embedding and GroupNorm layers only.
        names: of the trainable parameters; layers without one are left out.
        logits: runs the network on samples, with gradients for its trainable parameters.

    Raises:
        SolverError: a parameter is in another kind of layer or in several layers, or a layer has both trainable and
            frozen parameters.
    """

    def __init__(self, network: nn.Module, names: set[str], logits: Callable[[Inputs], Tensor]):
        self.logits, self.blocks, self.n = logits, {}, 0
        places = Counter(value for _, value in network.named_parameters(remove_duplicate=False))
        for name, layer in network.named_modules():
            parameters = dict(layer.named_parameters(prefix=name, recurse=False))
            free = [key in names for key in parameters]
            if any(places[value] > 1 for value in parameters.values()):
                raise SolverError(f"ekfac: layer {name} shares a parameter with another; use cg")
            if any(free):
                self.blocks[name] = _block_of(name, layer, all(free))
        self.random = torch.Generator().manual_seed(SIGN_SEED)

    def see(self, x: Inputs) -> None:
        """Add a batch of samples to the second moments."""
        for block, inputs, gradients in self._layer_pairs(x):
            block.see(inputs, gradients)

    def find_bases(self) -> None:
        """Compute the eigenvectors."""
        for block in self.blocks.values():
            block.find_basis()

    def measure(self, x: Inputs) -> None:
        """Add a batch of samples to the measured diagonals."""
        self.n += length(x)
        for block, inputs, gradients in self._layer_pairs(x):
            block.measure(inputs, gradients)

    def solve(self, parts: dict[str, Tensor], damping: float) -> dict[str, Tensor]:
        """Return the product of (approximation + δI)⁻¹ with a vector given by parameter name."""
        solved = {}
        for name, block in self.blocks.items():
            prefix = f"{name}." if name else ""
            vector = {key: parts[prefix + key] for key, _ in block.layer.named_parameters(recurse=False)}
            solved |= {prefix + key: value for key, value in block.solve(vector, self.n, damping).items()}
        return solved

    def _layer_pairs(self, x: Inputs) -> Iterator[tuple["Block", Tensor, Tensor]]:
        """Yield every layer's block, inputs and output gradients.

        The gradients are of Σ_c ε_c √p_c (m_c − Σ_k p_k m_k), m the logits and ε random signs: their second
        moment is exactly that of the Gauss–Newton matrix, from one backward pass. For one logit they are of
        √(p (1 − p)) m.
        """
        seen: dict[str, tuple[Tensor, Any]] = {}

        def keep(name: str, arguments: tuple, named: dict, output: Tensor) -> None:
            if name in seen or len(output) != length(x):
                raise SolverError(f"ekfac: layer {name} runs twice in a pass, or not on one sample a row; use cg")
            # The edge, since an operation in place may turn the tensor into its own result afterwards.
            seen[name] = argument(arguments, named).detach(), get_gradient_edge(output)

        hooks = [
            block.layer.register_forward_hook(lambda _, *passed, name=name: keep(name, *passed), with_kwargs=True)
            for name, block in self.blocks.items()
        ]
        try:
            with torch.enable_grad():
                logits = self.logits(x)
        finally:
            for hook in hooks:
                hook.remove()
        if len(seen) < len(self.blocks):
            raise SolverError(f"ekfac: layer {min(set(self.blocks) - set(seen))} does not run; freeze it, or use cg")
        gradients = torch.autograd.grad(logits, [edge for _, edge in seen.values()], self._root(logits.detach()))
        for (name, (inputs, _)), gradient in zip(seen.items(), gradients, strict=True):
            yield self.blocks[name], inputs, gradient

    def _root(self, logits: Tensor) -> Tensor:
        """Return random vectors whose second moments are the samples' curvature by their logits."""
        if logits.shape[1] == 1:
            return (torch.sigmoid(logits) * torch.sigmoid(-logits)).sqrt()
        p = torch.softmax(logits, dim=1)
        weights = self._signs(p) * p.sqrt()
        return weights - p * weights.sum(dim=1, keepdim=True)

    def _signs(self, like: Tensor) -> Tensor:
        return (torch.randint(2, like.shape, generator=self.random) * 2 - 1).to(like)


class Block:
    """One layer's part of the approximation. `inputs` and `gradients` are those of the layer, for a batch."""

    def __init__(self, layer: nn.Module):
        self.layer = layer
        self.input_moment: Tensor | float = 0.0
        self.gradient_moment: Tensor | float = 0.0
        self.diagonal: Tensor | float = 0.0

    def see(self, inputs: Tensor, gradients: Tensor) -> None:
        """Add to the second moments."""

    def find_basis(self) -> None:
        """Compute the eigenvectors."""

    def measure(self, inputs: Tensor, gradients: Tensor) -> None:
        """Add to the diagonal."""
        raise NotImplementedError

    def solve(self, parts: dict[str, Tensor], n: int, damping: float) -> dict[str, Tensor]:
        """Return the product with the damped inverse; `parts` by the parameter names within the layer."""
        raise NotImplementedError


class _Linear(Block):
    """Linear and convolutional layers: weights (outputs, inputs), the bias as the weight of a constant input."""

    def _rows(self, inputs: Tensor, gradients: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs (n, positions, inputs) and gradients (n, positions, outputs)."""
        inputs, gradients = (
            inputs.flatten(1, -2) if inputs.dim() > 2 else inputs[:, None],
            (gradients.flatten(1, -2) if gradients.dim() > 2 else gradients[:, None]),
        )
        return self._with_constant(inputs), gradients

    def _with_constant(self, inputs: Tensor) -> Tensor:
        if self.layer.bias is None:
            return inputs
        return torch.cat([inputs, torch.ones_like(inputs[..., :1])], dim=-1)

    def see(self, inputs: Tensor, gradients: Tensor) -> None:
        """Add to the second moments of inputs and of gradients."""
        a, g = (rows.flatten(0, 1) for rows in self._rows(inputs, gradients))
        self.input_moment = self.input_moment + a.T @ a
        self.gradient_moment = self.gradient_moment + g.T @ g

    def find_basis(self) -> None:
        """Compute the eigenvectors of both moments."""
        self.right = torch.linalg.eigh(self.input_moment.double())[1].to(self.input_moment.dtype)
        self.left = torch.linalg.eigh(self.gradient_moment.double())[1].to(self.gradient_moment.dtype)

    def measure(self, inputs: Tensor, gradients: Tensor) -> None:
        """Add the squares of the samples' weight gradients in the basis."""
        a, g = self._rows(inputs, gradients)
        samples = self.left.T @ (g.transpose(1, 2) @ a) @ self.right
        self.diagonal = self.diagonal + samples.square().sum(dim=0)

    def solve(self, parts: dict[str, Tensor], n: int, damping: float) -> dict[str, Tensor]:
        """Return the product of the damped inverse with weight (and bias)."""
        weight = parts["weight"]
        joint = weight.flatten(1)
        if "bias" in parts:
            joint = torch.cat([joint, parts["bias"][:, None]], dim=1)
        solved = self.left @ ((self.left.T @ joint @ self.right) / (self.diagonal / n + damping)) @ self.right.T
        if "bias" not in parts:
            return {"weight": solved.view_as(weight)}
        return {"weight": solved[:, :-1].reshape(weight.shape), "bias": solved[:, -1]}


class _Convolution(_Linear):
    def _rows(self, inputs: Tensor, gradients: Tensor) -> tuple[Tensor, Tensor]:
        layer = self.layer
        patches = unfold(inputs, layer.kernel_size, layer.dilation, layer.padding, layer.stride).transpose(1, 2)
        return self._with_constant(patches), gradients.flatten(2).transpose(1, 2)


class _Embedding(Block):
    """Embeddings: inputs are one-hot, so only the gradients need a basis."""

    def see(self, inputs: Tensor, gradients: Tensor) -> None:
        """Add to the second moment of the gradients."""
        g = gradients.flatten(0, -2)
        self.gradient_moment = self.gradient_moment + g.T @ g

    def find_basis(self) -> None:
        """Compute the eigenvectors of the gradients' moment."""
        self.right = torch.linalg.eigh(self.gradient_moment.double())[1].to(self.gradient_moment.dtype)
        self.diagonal = torch.zeros_like(self.layer.weight)

    def measure(self, inputs: Tensor, gradients: Tensor) -> None:
        """Add the squares of the samples' gradients; a word's occurrences in one sample are summed first."""
        words = len(self.layer.weight)
        sample = torch.arange(len(inputs), device=inputs.device)[:, None]
        pairs, where = torch.unique(sample * words + inputs.flatten(1), return_inverse=True)
        sums = torch.zeros(len(pairs), gradients.shape[-1], dtype=gradients.dtype, device=gradients.device)
        sums.index_add_(0, where.flatten(), gradients.flatten(0, -2))
        self.diagonal.index_add_(0, pairs % words, (sums @ self.right).square())

    def solve(self, parts: dict[str, Tensor], n: int, damping: float) -> dict[str, Tensor]:
        """Return the product of the damped inverse with the word vectors."""
        return {"weight": ((parts["weight"] @ self.right) / (self.diagonal / n + damping)) @ self.right.T}


class _GroupNorm(Block):
    """Scale and shift of a normalisation: a diagonal."""

    def measure(self, inputs: Tensor, gradients: Tensor) -> None:
        """Add the squares of the samples' gradients of scale and shift."""
        normal = group_norm(inputs, self.layer.num_groups, eps=self.layer.eps)
        samples = torch.stack([(gradients * normal).flatten(2).sum(dim=2), gradients.flatten(2).sum(dim=2)])
        self.diagonal = self.diagonal + samples.square().sum(dim=1)

    def solve(self, parts: dict[str, Tensor], n: int, damping: float) -> dict[str, Tensor]:
        """Return the product of the damped inverse with scale and shift."""
        return {key: parts[key] / (self.diagonal[i] / n + damping) for i, key in enumerate(("weight", "bias"))}


BLOCKS = {nn.Linear: _Linear, nn.Conv2d: _Convolution, nn.Embedding: _Embedding, nn.GroupNorm: _GroupNorm}


def _block_of(name: str, layer: nn.Module, whole: bool) -> Block:
    """Return the block of a layer, or refuse the layer; `whole`: all its parameters are trainable."""
    block = next((block for kind, block in BLOCKS.items() if isinstance(layer, kind)), None)
    if block is None:
        supported = ", ".join(kind.__name__ for kind in BLOCKS)
        raise SolverError(f"ekfac: layer {name} is a {type(layer).__name__}; supported are {supported}; use cg")
    if not whole:
        raise SolverError(f"ekfac: layer {name} has trainable and frozen parameters; freeze all or none, or use cg")
    if block is _Convolution and (layer.groups > 1 or layer.padding_mode != "zeros" or isinstance(layer.padding, str)):
        raise SolverError(f"ekfac: layer {name} has groups, or is not padded by a number of zeros; use cg")
    return block(layer)
