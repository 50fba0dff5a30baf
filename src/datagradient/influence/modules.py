"""Running a network that belongs to the caller: it comes back as it was given.

Passes are in evaluation mode, with the problem's own tensors for parameters and buffers. For the length of a pass the
network is in that state, so that two threads must not share one.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call


@contextmanager
def evaluation(network: nn.Module) -> Iterator[None]:
    """Within this context a network is in evaluation mode; then every module is in its own mode again."""
    modes = [(module, module.training) for module in network.modules()]
    try:
        if any(mode for _, mode in modes):
            network.eval()
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def same_chance(device: torch.device) -> Iterator[None]:
    """Within this context torch's generators may be drawn from; then they are in their former state again."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


def logits_of(network: nn.Module, parameters: dict[str, Tensor], x: Tensor) -> Tensor:
    """Return a network's outputs in evaluation mode, with these parameters and with copies of its buffers."""
    buffers = {name: value.clone() for name, value in network.named_buffers()}
    with evaluation(network):
        return functional_call(network, {**parameters, **buffers}, (x,))
