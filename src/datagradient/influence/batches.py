"""A network's samples, batch by batch: arrays of all samples, or the caller's own batches."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from datagradient.influence.solvers import SolverError

# What a network is called with: a tensor, several (a tuple), or several by name (a mapping), as `network(**inputs)`.
Inputs = Any
CHANGED = "the batches are not the same in a second pass"


class Samples(Protocol):
    """n samples that can be read any number of times, in the same order."""

    def __len__(self) -> int:
        """Return n."""

    def __getitem__(self, rows: Any) -> "Samples":
        """Return the samples of a slice or of an ascending array of positions."""

    def batches(self, device: torch.device) -> Iterator[tuple[int, Inputs]]:
        """Yield the number of a batch's first sample, and its inputs on a device."""


class Arrays:
    """All samples at once.

    Args:
        inputs: an array or tensor (n, …), or a tuple or mapping of these.
        to_tensors: turns the inputs of a batch into what the network takes.
        batch_size: samples at once.
    """

    def __init__(self, inputs: Any, to_tensors: Callable[[Any], Inputs], batch_size: int):
        self.inputs, self.to_tensors, self.batch_size = inputs, to_tensors, batch_size

    def __len__(self) -> int:
        """Return the number of samples."""
        return length(self.inputs)

    def __getitem__(self, rows: Any) -> "Arrays":
        """Return the samples of a slice or of an array of positions."""
        return Arrays(mapped(lambda array: array[rows], self.inputs), self.to_tensors, self.batch_size)

    def batches(self, device: torch.device) -> Iterator[tuple[int, Inputs]]:
        """Yield the number of a batch's first sample, and its inputs on a device."""
        for start in range(0, len(self), self.batch_size):
            part = slice(start, start + self.batch_size)
            inputs = self.to_tensors(mapped(lambda array: array[part], self.inputs))  # noqa: B023
            yield start, mapped(lambda tensor: tensor.to(device), inputs)


class Batches:
    """The caller's own batches, e.g. of a DataLoader: they are not copied, and are read again in every pass.

    Args:
        read: returns an iterator over the inputs of all batches, starting from the first.
        sizes: samples in each batch.
    """

    def __init__(self, read: Callable[[], Iterable[Inputs]], sizes: list[int]):
        self.read, self.sizes = read, sizes

    def __len__(self) -> int:
        """Return the number of samples."""
        return sum(self.sizes)

    def __getitem__(self, rows: Any) -> "Batches":
        """Return the samples of a slice or of an ascending array of positions, held in memory."""
        rows = np.arange(len(self))[rows]
        parts, last = [], rows[-1] if len(rows) else -1
        for start, size, inputs in self._numbered():
            inside = rows[(rows >= start) & (rows < start + size)] - start
            if len(inside):
                where = torch.from_numpy(inside)
                parts.append(mapped(lambda tensor: tensor[where.to(tensor.device)], inputs))  # noqa: B023
            if start + size > last:
                break
        return Batches(lambda: parts, [length(part) for part in parts])

    def batches(self, device: torch.device) -> Iterator[tuple[int, Inputs]]:
        """Yield the number of a batch's first sample, and its inputs on a device.

        Raises:
            SolverError: the number or the sizes of the batches differ from those of the first pass.
        """
        for start, _, inputs in self._numbered():
            yield start, mapped(lambda tensor: tensor.to(device), inputs)

    def _numbered(self) -> Iterator[tuple[int, int, Inputs]]:
        start, number = 0, 0
        for number, inputs in enumerate(self.read(), start=1):
            size = length(inputs)
            if number > len(self.sizes) or size != self.sizes[number - 1]:
                raise SolverError(f"batch {number - 1} has {size} samples, and another number before: {CHANGED}; pass "
                                  "batches that are read in one order")  # fmt: skip
            yield start, size, inputs
            start += size
        if number < len(self.sizes):
            raise SolverError(f"{number} batches, and {len(self.sizes)} before: {CHANGED}; pass a DataLoader or list")


class Batch(NamedTuple):
    """Samples start, start + 1, …: inputs, targets and weights of their losses (None for 1), on the device."""

    start: int
    inputs: Inputs
    targets: Tensor
    weights: Tensor | None


def batches_of(samples: Samples, targets: Tensor, weights: Tensor | None, device: torch.device) -> Iterator[Batch]:
    """Yield samples with their targets (n, …) and weights (n,)."""
    for start, inputs in samples.batches(device):
        part = slice(start, start + length(inputs))
        factors = None if weights is None else weights[part].to(device)
        yield Batch(start, inputs, targets[part].to(device), factors)


def mapped(function: Callable[[Any], Any], inputs: Any) -> Any:
    """Return inputs with a function applied to each array or tensor in them."""
    if isinstance(inputs, Mapping):
        return {key: function(value) for key, value in inputs.items()}
    if isinstance(inputs, tuple | list):
        return tuple(function(value) for value in inputs)
    return function(inputs)


def leaves(inputs: Any) -> list[Any]:
    """Return the arrays or tensors of inputs."""
    if isinstance(inputs, Mapping):
        return list(inputs.values())
    return list(inputs) if isinstance(inputs, tuple | list) else [inputs]


def length(inputs: Any) -> int:
    """Return how many samples inputs hold."""
    return len(leaves(inputs)[0])
