"""Keeping what influence needs of the samples in the last epoch of training, which has just computed it.

Hooks keep what the last layer takes, or the projected gradients by all layers. The weights are bit for bit those of
training without them. What is kept is of slightly older weights than the trained ones. Of the samples that were seen
first, whose values are the oldest, they are computed again, so that what that costs is known.
"""

import math
import shutil
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from datagradient.errors import one_line
from datagradient.influence.glm import ROWS
from datagradient.influence.losses import residuals
from datagradient.influence.modules import argument, evaluation, restored_generators
from datagradient.influence.projections import Projection, projections_of, with_gradients
from datagradient.influence.record import Record
from datagradient.influence.solvers import SolverError

MEMORY = 2**30  # bytes; a larger record has half of the precision, and one that is still larger lies on disk
CHECKED = 200  # samples, the first ones of the epoch, whose scores are compared with those by the trained network
SINGLE, HALF = 1e-2, 0.1  # tolerance of logits and of the loss's derivative, by precision
AFTERWARDS = "score the network afterwards with influence_scores"
Batch = tuple[Tensor, Tensor | None, Tensor | None]  # numbers of samples, labels, factors of their losses
Pass = tuple[Tensor, Tensor]  # what a layer took and gave


class Recording:
    """Keeps numbers of a network's samples while it is trained for one epoch, or predicts.

    Within the context, `batch` says before each pass which samples it is of. Passes without gradients for which nothing
    was said, e.g. over validation samples, are not kept. Whatever goes wrong never disturbs the training: `record`
    refuses afterwards.

    Args:
        network: ends in an `nn.Linear` with a bias.
        n: number of samples.
        parameters: ``"last"`` for what the last layer takes, ``"projected"`` for the projected gradients by all layers.
        trains: whether the network changes meanwhile.
        memory: bytes that the record may take in memory in single precision; a larger one is kept in half precision
            (bfloat16), and one that is larger still in a file without a name, which vanishes with the process.
    """

    def __init__(
        self, network: nn.Module, n: int, parameters: str = "last", trains: bool = True, memory: int = MEMORY
    ):  # fmt: skip
        self.network, self.n, self.trains, self.memory = network, n, trains, memory
        self.refusal: str | None = None  # why there is no record: the first reason
        self.projections: dict[str, Projection] = projections_of(network) if parameters == "projected" else {}
        self._values: Tensor | None = None
        self._layer = ""
        self._seen = torch.zeros(n, dtype=torch.bool)
        self._parts = torch.zeros(n, dtype=torch.int16)  # of each sample's values, that have been kept
        self._departures: list[tuple[Tensor, Tensor, float]] = []  # of the loss's derivative, and what is tolerated
        self._pending: Batch | None = None
        self._ran: dict[str, Pass] = {}  # the layers of a pass, in the order in which they ran
        self._twice = ""
        self._first: list[tuple[Batch, tuple, dict]] = []  # batches, and what the network was called with
        self._inputs: tuple[tuple, dict] = ((), {})
        self._hooks: list[Any] = []

    def __enter__(self) -> "Recording":
        """Begin to keep."""
        for name, layer in self.network.named_modules():
            if isinstance(layer, nn.Linear) or name in self.projections:
                self._hooks.append(layer.register_forward_hook(self._layer_hook(name), with_kwargs=True))
        self._hooks.append(self.network.register_forward_pre_hook(self._before, with_kwargs=True))
        self._hooks.append(self.network.register_forward_hook(self._after))
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        """Take all hooks away; after an error, drop what was kept."""
        for hook in self._hooks:
            hook.remove()
        self._hooks, self._ran, self._inputs = [], {}, ((), {})
        if kind is not None:
            self._refuse("the epoch was interrupted")

    def batch(self, positions: Any, labels: Any = None, weights: Any = None) -> None:
        """Say which samples the next pass is of; if it takes fewer, the pass after it takes the next ones.

        Args:
            positions: (m,) numbers of the samples, from 0.
            labels: (m,) their labels, as the loss takes them, which is checked to be their cross-entropy; None: it is
                not.
            weights: (m,) factors of their losses; None for 1.
        """
        if self._pending is not None:
            self._refuse(f"the pass over sample {int(self._pending[0][0])} did not take place")
        numbers = torch.as_tensor(positions).detach().cpu().long().reshape(-1)
        if not len(numbers):
            return
        strange = numbers[(numbers < 0) | (numbers >= self.n)]
        if len(strange):
            self._refuse(f"there is no sample {int(strange[0])}: there are {self.n}, counted from 0")
        targets, factors = (None if part is None else torch.as_tensor(part).detach() for part in (labels, weights))
        for part, what in ((targets, "labels"), (factors, "weights")):
            if part is not None and len(part) != len(numbers):
                self._refuse(f"a batch of {len(numbers)} samples has {len(part)} {what}")
        if self.refusal is None:
            self._pending = numbers, targets, factors

    def record(self) -> Record:
        """Return what was kept.

        Raises:
            SolverError: a sample was seen twice or never, the network cannot be recorded, or its loss is another.
        """
        if self.refusal is not None:
            raise SolverError(f"record: {self.refusal}")
        missing = (~self._seen).nonzero()
        if len(missing):
            raise SolverError(f"record: sample {int(missing[0])} was never seen, as {len(missing)} of {self.n}; record "
                              "a whole epoch, and drop no last batch in it (drop_last=False)")  # fmt: skip
        lacking = (self._parts < max(len(self.projections), 1)).nonzero()
        if len(lacking) or self._values is None:
            raise SolverError(f"record: sample {int(lacking[0])} had no backward pass through all layers")
        for start, part in enumerate(self._values.split(ROWS)):
            finite = torch.isfinite(part).all(dim=1)
            if not finite.all():
                sample = start * ROWS + int((~finite).nonzero()[0])
                what = "the gradient" if self.projections else "what the last layer takes"
                raise SolverError(f"record: {what} of sample {sample} is not finite")
        for samples, departures, tolerated in self._departures:
            worst = int(departures.argmax())
            if not float(departures[worst]) <= tolerated:
                raise SolverError(
                    f"record: the derivative of the loss of sample {int(samples[worst])} is not that of cross-entropy: "
                    f"say its weights, or {AFTERWARDS} and its loss"
                )
        checked = self._checked() if self.trains else None
        return Record(self._layer, self._values, checked, self.projections or None)

    def _checked(self) -> tuple[np.ndarray, Tensor]:
        """Return the numbers of the samples that were seen first, and their values in the network as it is now."""
        now = [self._now(batch, arguments, named) for batch, arguments, named in self._first]
        return torch.cat([samples for (samples, *_), *_ in self._first]).numpy(), torch.cat(now)

    def _now(self, batch: Batch, arguments: tuple, named: dict) -> Tensor:
        layer = dict(self.network.named_modules())[self._layer]
        with evaluation(self.network), restored_generators(layer.weight.device):
            arguments, named = _clone(arguments), _clone(named)
            if not self.projections:
                seen: list[Tensor] = []
                hook = layer.register_forward_hook(lambda _, *passed: seen.append(argument(*passed[:2])),
                                                   with_kwargs=True)  # fmt: skip
                try:
                    with torch.no_grad():
                        self.network(*arguments, **named)
                finally:
                    hook.remove()
                return seen[-1]

            def run() -> Tensor:
                return _logits(self.network(*arguments, **named))

            _, labels, weights = batch
            return with_gradients(self.network, self.projections, run, labels, weights)

    def _layer_hook(self, name: str) -> Any:
        def keep(_: nn.Module, arguments: tuple, named: dict, output: Tensor) -> None:
            if self._pending is not None:
                if name in self._ran:
                    self._twice = name
                self._ran.pop(name, None)
                self._ran[name] = argument(arguments, named).detach(), output

        return keep

    def _before(self, _: nn.Module, arguments: tuple, named: dict) -> None:
        self._ran, self._twice = {}, ""
        if self._pending is None:
            if torch.is_grad_enabled():
                self._refuse("the network ran on samples that were not named; name them before each pass, and let "
                             "others pass under torch.no_grad()")  # fmt: skip
        elif self.trains and self.refusal is None and sum(len(first[0][0]) for first in self._first) < CHECKED:
            self._inputs = _clone(arguments), _clone(named)

    def _after(self, _: nn.Module, __: tuple, output: Any) -> None:
        if self._pending is None or self.refusal is not None:
            return
        try:
            self._take(_logits(output))
        except SolverError as error:
            self._refuse(str(error))
        except Exception as error:  # a record never disturbs the training
            self._refuse(f"{type(error).__name__}: {one_line(error)}")

    def _take(self, logits: Any) -> None:
        """Keep what the layers took in the pass that has just ended, or what they will get."""
        inputs, outputs = self._last_layer(logits)
        batch = self._next(len(inputs))
        samples, labels, _ = batch
        factor: list[Tensor] = []  # by which a batch's gradients are those of its samples, found before any is kept
        if labels is not None and outputs.requires_grad:
            outputs.register_hook(lambda gradient: factor.append(self._factor(gradient, outputs.detach(), batch)))
        if not self.projections:
            return self._keep(samples, inputs, 0, inputs.shape[1])
        if labels is None or not outputs.requires_grad:
            raise SolverError("gradients by all layers need labels and a backward pass")
        if self._twice:
            raise SolverError(f"layer {self._twice} runs twice in a pass; record the last layer alone")
        silent = [layer for layer in self.projections if layer not in self._ran]
        if silent:
            raise SolverError(f"layer {silent[0]} does not run; freeze it, requires_grad_(False)")
        first = 0
        for layer, projection in self.projections.items():
            taken, given = self._ran[layer]
            given.register_hook(self._gradient_hook(projection, taken, samples, first, factor))
            first += projection.size
        return None

    def _last_layer(self, logits: Any) -> Pass:
        """Return what the linear layer that ran last took and gave; or refuse the network."""
        linear = [name for name in self._ran if isinstance(self.network.get_submodule(name), nn.Linear)]
        if not linear or self.network.get_submodule(linear[-1]).bias is None:
            raise SolverError(f"the network has no last linear layer with a bias; {AFTERWARDS}")
        name = linear[-1]
        inputs, outputs = self._ran[name]
        if inputs.dim() != 2:
            raise SolverError(f"the last linear layer, {name}, takes the shape {tuple(inputs.shape)}; {AFTERWARDS} and "
                              "parameters: all")  # fmt: skip
        if not _same(logits, outputs) or name not in (self._layer or name, self._twice or name):
            raise SolverError(
                f"the logits are not those of the last linear layer, {name}; {AFTERWARDS} and parameters: all"
            )
        self._layer = name
        return inputs, outputs

    def _next(self, taken: int) -> Batch:
        """Return the samples of a pass, of those that were named: the first ones."""
        assert self._pending is not None
        left = len(self._pending[0])
        if taken > left:
            raise SolverError(f"a pass took {taken} samples, and {left} were named: name those of each pass before it")
        batch, rest = (tuple(None if part is None else part[rows] for part in self._pending)
                       for rows in (slice(taken), slice(taken, None)))  # fmt: skip
        self._pending = rest if left > taken else None
        samples = batch[0]
        known, counts = torch.unique(samples, return_counts=True)
        again = known[(counts > 1) | self._seen[known]]
        if len(again):
            raise SolverError(
                f"sample {int(again[0])} was seen twice; record one epoch, in which every sample comes once"
            )
        self._seen[samples] = True
        if self._inputs != ((), {}):
            self._first.append((batch, *self._inputs))
            self._inputs = (), {}
        return batch

    def _gradient_hook(
        self, projection: Projection, inputs: Tensor, samples: Tensor, first: int, factor: list[Tensor]
    ) -> Any:
        def keep(gradient: Tensor) -> None:
            if self.refusal is None:
                try:
                    with torch.no_grad():
                        taken = inputs.to(gradient.dtype) if inputs.is_floating_point() else inputs
                        values = projection(taken, gradient / factor[0].to(gradient.dtype))
                        width = sum(each.size for each in self.projections.values())
                        self._keep(samples, values, first, width)
                except Exception as error:  # a record never disturbs the training
                    self._refuse(f"{type(error).__name__}: {one_line(error)}")

        return keep

    def _keep(self, samples: Tensor, values: Tensor, first: int, width: int) -> None:
        """Store some of the numbers of some samples: those from `first` on, of `width`."""
        if self._values is None:
            self._values = storage(self.n, width, values, self.memory)
        if self._values.shape[1] != width:
            raise SolverError(f"the last layer takes {width} values, and {self._values.shape[1]} before")
        rows = samples.to(self._values.device)
        self._values[rows, first : first + values.shape[1]] = values.to(self._values.device, self._values.dtype)
        self._parts[samples] += 1

    def _factor(self, gradient: Tensor, logits: Tensor, batch: Batch) -> Tensor:
        """Return by which factor the derivative of a batch's loss is that of the sum of cross-entropies.

        How far it departs from it is kept.
        """
        samples, labels, weights = batch
        try:
            assert labels is not None
            expected = residuals(logits, labels, weights)
            found = gradient.detach().reshape(expected.shape).to(expected.dtype)
            size = (expected * expected).sum()
            factor = (found * expected).sum() / size.clamp(min=1e-30)
            distance = (found - factor * expected).norm(dim=1)
        except Exception as error:  # a record never disturbs the training
            self._refuse(f"labels of sample {int(samples[0])} and further: {type(error).__name__}: {one_line(error)}")
            return gradient.new_ones(())
        # In units of a usual sample's gradient: where all are nearly 0, rounding is all that is left.
        scale = factor.abs() * ((size / len(expected)).sqrt() + 1e-3)
        departures = torch.where(factor > 0, distance / scale, math.inf)
        self._departures.append((samples, departures, _tolerance(gradient, logits)))
        return factor

    def _refuse(self, reason: str) -> None:
        self.refusal, self._values, self._pending, self._first = self.refusal or reason, None, None, []


def storage(n: int, width: int, like: Tensor, memory: int) -> Tensor:
    """Return room for n rows, on the device of a tensor like them, or in a file if they take more than some bytes.

    Raises:
        SolverError: there is no room on disk.
    """
    dtype = like.dtype
    if n * width * dtype.itemsize > memory:
        dtype = torch.bfloat16
    size = n * width * dtype.itemsize
    if size <= memory:
        return torch.empty((n, width), dtype=dtype, device=like.device)
    folder = tempfile.gettempdir()
    if shutil.disk_usage(folder).free < size:
        raise SolverError(f"record: {size / 2**30:.1f} GiB are needed in {folder}, which has less free; set TMPDIR, or "
                          f"{AFTERWARDS}")  # fmt: skip
    # A file without a name: it is gone when the record is, or when the process ends, however it ends.
    with tempfile.TemporaryFile(dir=folder) as file:
        file.truncate(size)
        return torch.from_numpy(np.memmap(file, np.int16, "r+", shape=(n, width))).view(dtype)


def _logits(output: Any) -> Any:
    return output["logits"] if isinstance(output, Mapping) and "logits" in output else output


def _same(logits: Any, outputs: Tensor) -> bool:
    """Return whether the network's logits are what its last layer gave, up to their shape and precision."""
    if not isinstance(logits, Tensor) or logits.numel() != outputs.numel():
        return False
    if logits.data_ptr() == outputs.data_ptr():
        return True
    tolerance = _tolerance(outputs, logits)
    return torch.allclose(logits.detach().reshape(outputs.shape).double(), outputs.detach().double(), tolerance,
                          tolerance, equal_nan=True)  # fmt: skip


def _tolerance(*values: Tensor) -> float:
    return HALF if any(value.dtype.itemsize < 4 for value in values) else SINGLE


def _clone(inputs: Any) -> Any:
    """Return inputs of a network with their tensors copied: the caller may write into them."""
    if isinstance(inputs, Tensor):
        return inputs.detach().clone()
    if isinstance(inputs, Mapping):
        return {key: _clone(value) for key, value in inputs.items()}
    return tuple(_clone(value) for value in inputs) if isinstance(inputs, tuple | list) else inputs
