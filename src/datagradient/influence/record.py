"""What a network's last layer takes, kept in the last epoch of training, so that scores need no pass over the samples.

Training has just computed every sample's features; a hook keeps them. The weights are bit for bit those of training
without it. The features are of slightly older weights than the trained ones. Of the samples that were seen first, whose
features are the oldest, they are computed again, so that what that costs is known.
"""

import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from datagradient.errors import one_line
from datagradient.influence.glm import ROWS
from datagradient.influence.modules import evaluation, restored_generators
from datagradient.influence.solvers import SolverError

MEMORY = 2**30  # bytes; a larger record has half of the precision, and one that is still larger lies on disk
CHECKED = 200  # samples, the first ones of the epoch, whose scores are compared with those by the trained network
SINGLE, HALF = 1e-2, 0.1  # tolerance of logits and of the loss's derivative, by precision
AFTERWARDS = "score the network afterwards with influence_scores"


@dataclass(frozen=True)
class Record:
    """The inputs of a network's last layer for n samples. It stands for them where a `LastLayerProblem` takes samples.

    Attributes:
        layer: name of the layer in the network.
        values: (n, width), in the order of the samples.
        checked: numbers of some samples (m,), and what the layer takes of them in the network as trained (m, width);
            None for a record of the trained network itself.
    """

    layer: str
    values: Tensor
    checked: tuple[np.ndarray, Tensor] | None = None

    def __len__(self) -> int:
        """Return n."""
        return len(self.values)

    def __getitem__(self, rows: Any) -> "Record":
        """Return the record of the samples of a slice or of an array of positions."""
        return Record(self.layer, self.values[rows if isinstance(rows, slice) else torch.from_numpy(rows)])

    def arrays(self) -> dict[str, np.ndarray]:
        """Return it as plain arrays, see `from_arrays`."""
        samples, values = self.checked or (np.empty(0, dtype=np.int64), self.values[:0])
        return {"layer": np.array(self.layer), "values": readable(self.values).numpy(), "checked_samples": samples,
                "checked_values": readable(values).numpy()}  # fmt: skip

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Record":
        """Return the record that `arrays` gave."""
        values, checked = (torch.from_numpy(arrays[name]) for name in ("values", "checked_values"))
        return cls(str(arrays["layer"]), values, (arrays["checked_samples"], checked) if len(checked) else None)

    def chunks(self) -> Iterator[tuple[int, Tensor]]:
        """Yield the number of a first sample, and the layer's inputs from it on, on the CPU in single precision."""
        for start in range(0, len(self), ROWS):
            yield start, readable(self.values[start : start + ROWS])


def readable(values: Tensor) -> Tensor:
    """Return values on the CPU, in single precision at least."""
    return values.cpu().to(torch.promote_types(values.dtype, torch.float32))


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Return Spearman's rank correlation; 1 if neither varies."""
    from scipy.stats import spearmanr  # takes half a second to import

    return 1.0 if np.ptp(first) == np.ptp(second) == 0 else float(spearmanr(first, second).statistic)


class Recording:
    """Keeps what a network's last linear layer takes while it is trained for one epoch, or predicts.

    Within the context, `batch` says before each pass which samples it is of. Passes without gradients for which nothing
    was said, e.g. over validation samples, are not kept. Whatever goes wrong never disturbs the training: `record`
    refuses afterwards.

    Args:
        network: ends in an `nn.Linear` with a bias.
        n: number of samples.
        trains: whether the network changes meanwhile.
        memory: bytes that the record may take in memory in single precision; a larger one is kept in half precision
            (bfloat16), and one that is larger still in a file without a name, which vanishes with the process.
    """

    def __init__(self, network: nn.Module, n: int, trains: bool = True, memory: int = MEMORY):
        self.network, self.n, self.trains, self.memory = network, n, trains, memory
        self.refusal: str | None = None  # why there is no record: the first reason
        self._values: Tensor | None = None
        self._layer = ""
        self._seen = torch.zeros(n, dtype=torch.bool)
        self._departures: list[tuple[Tensor, Tensor, float]] = []  # of the loss's derivative, and what is tolerated
        self._pending: tuple[Tensor, Tensor | None, Tensor | None] | None = None
        self._ran: tuple[str, nn.Linear, Tensor, Tensor] | None = None
        self._first: list[tuple[Tensor, tuple, dict]] = []
        self._inputs: tuple[tuple, dict] = ((), {})
        self._hooks: list[Any] = []

    def __enter__(self) -> "Recording":
        """Begin to keep."""
        for name, layer in self.network.named_modules():
            if isinstance(layer, nn.Linear):
                self._hooks.append(layer.register_forward_hook(self._linear_hook(name), with_kwargs=True))
        self._hooks.append(self.network.register_forward_pre_hook(self._before, with_kwargs=True))
        self._hooks.append(self.network.register_forward_hook(self._after))
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        """Take all hooks away; after an error, drop what was kept."""
        for hook in self._hooks:
            hook.remove()
        self._hooks, self._ran, self._inputs = [], None, ((), {})
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
            return None
        strange = numbers[(numbers < 0) | (numbers >= self.n)]
        if len(strange):
            return self._refuse(f"there is no sample {int(strange[0])}: there are {self.n}, counted from 0")
        targets, factors = (None if part is None else torch.as_tensor(part).detach() for part in (labels, weights))
        for part, what in ((targets, "labels"), (factors, "weights")):
            if part is not None and len(part) != len(numbers):
                return self._refuse(f"a batch of {len(numbers)} samples has {len(part)} {what}")
        self._pending = numbers, targets, factors
        return None

    def record(self) -> Record:
        """Return what was kept.

        Raises:
            SolverError: a sample was seen twice or never, the network cannot be recorded, or its loss is another.
        """
        if self.refusal is not None:
            raise SolverError(f"record: {self.refusal}")
        if not bool(self._seen.all()):
            missing = (~self._seen).nonzero()
            raise SolverError(f"record: sample {int(missing[0])} was never seen, as {len(missing)} of {self.n}; record "
                              "a whole epoch, and drop no last batch in it (drop_last=False)")  # fmt: skip
        assert self._values is not None
        for start, part in enumerate(self._values.split(ROWS)):
            finite = torch.isfinite(part).all(dim=1)
            if not finite.all():
                sample = start * ROWS + int((~finite).nonzero()[0])
                raise SolverError(f"record: what the last layer takes of sample {sample} is not finite")
        for samples, departures, tolerated in self._departures:
            worst = int(departures.argmax())
            if not float(departures[worst]) <= tolerated:
                raise SolverError(
                    f"record: the derivative of the loss of sample {int(samples[worst])} is not that of cross-entropy: "
                    f"say its weights, or {AFTERWARDS} and its loss"
                )
        return Record(self._layer, self._values, self._checked() if self.trains else None)

    def _checked(self) -> tuple[np.ndarray, Tensor]:
        """Return the numbers of the samples that were seen first, and what the layer takes of them now."""
        layer = dict(self.network.named_modules())[self._layer]
        now = [self._now(layer, arguments, named) for _, arguments, named in self._first]
        return torch.cat([samples for samples, *_ in self._first]).numpy(), torch.cat(now)

    def _now(self, layer: nn.Linear, arguments: tuple, named: dict) -> Tensor:
        seen: list[Tensor] = []
        hook = layer.register_forward_hook(lambda _, args, kwargs, output: seen.append(_argument(args, kwargs)),
                                           with_kwargs=True)  # fmt: skip
        device = layer.weight.device
        try:
            with evaluation(self.network), torch.no_grad(), restored_generators(device):
                self.network(*_clone(arguments), **_clone(named))
        finally:
            hook.remove()
        return seen[-1]

    def _linear_hook(self, name: str) -> Any:
        def keep(layer: nn.Linear, arguments: tuple, named: dict, output: Tensor) -> None:
            if self._pending is not None:
                self._ran = name, layer, _argument(arguments, named), output

        return keep

    def _before(self, _: nn.Module, arguments: tuple, named: dict) -> None:
        self._ran = None
        if self._pending is None:
            if torch.is_grad_enabled():
                self._refuse("the network ran on samples that were not named; name them before each pass, and let "
                             "others pass under torch.no_grad()")  # fmt: skip
        elif self.trains and self.refusal is None and sum(len(first[0]) for first in self._first) < CHECKED:
            self._inputs = _clone(arguments), _clone(named)

    def _after(self, _: nn.Module, __: tuple, output: Any) -> None:
        if self._pending is None or self.refusal is not None:
            return
        try:
            self._take(output)
        except Exception as error:  # a record never disturbs the training
            self._refuse(f"{type(error).__name__}: {one_line(error)}")

    def _take(self, output: Any) -> None:
        """Keep what the last layer took in the pass that has just ended."""
        assert self._pending is not None
        logits = output["logits"] if isinstance(output, Mapping) and "logits" in output else output
        left = len(self._pending[0])
        if self._ran is None or self._ran[1].bias is None:
            return self._refuse(f"the network has no last linear layer with a bias; {AFTERWARDS}")
        name, _, inputs, outputs = self._ran
        taken = len(inputs)
        if inputs.dim() != 2 or taken > left:
            return self._refuse(f"the last linear layer, {name}, takes the shape {tuple(inputs.shape)} for {left} "
                                f"samples; {AFTERWARDS} and parameters: all")  # fmt: skip
        if not _same(logits, outputs) or (self._layer and name != self._layer):
            return self._refuse(f"the logits are not those of the last linear layer, {name}; {AFTERWARDS} and "
                                "parameters: all")  # fmt: skip
        self._layer = name
        batch, rest = (tuple(None if part is None else part[rows] for part in self._pending)
                       for rows in (slice(taken), slice(taken, None)))  # fmt: skip
        self._pending = rest if left > taken else None
        self._keep(inputs.detach(), batch[0])
        if self.refusal is not None:
            return None
        if self._inputs != ((), {}):
            self._first.append((batch[0], *self._inputs))
            self._inputs = (), {}
        if batch[1] is not None and outputs.requires_grad:
            outputs.register_hook(lambda gradient: self._check_loss(gradient, outputs.detach(), *batch))
        return None

    def _keep(self, inputs: Tensor, samples: Tensor) -> None:
        again = self._seen[samples]
        if bool(again.any()) or len(torch.unique(samples)) < len(samples):
            twice = samples[again] if bool(again.any()) else samples.mode().values
            return self._refuse(f"sample {int(twice.reshape(-1)[0])} was seen twice; record one epoch, in which every "
                                "sample comes once")  # fmt: skip
        if self._values is None:
            self._values = storage(self.n, inputs, self.memory)
        if self._values.shape[1] != inputs.shape[1]:
            return self._refuse(f"the last layer takes {inputs.shape[1]} values, and {self._values.shape[1]} before")
        self._values[samples.to(self._values.device)] = inputs.to(self._values.device, self._values.dtype)
        self._seen[samples] = True

    def _check_loss(
        self, gradient: Tensor, logits: Tensor, samples: Tensor, labels: Tensor, weights: Tensor | None
    ) -> None:
        """Keep how far the derivative of a batch's loss is from that of cross-entropy, up to one factor."""
        try:
            expected = _residuals(logits, labels, weights)
            found = gradient.detach().reshape(expected.shape).to(expected.dtype)
            size = (expected * expected).sum()
            factor = (found * expected).sum() / size.clamp(min=1e-30)
            distance = (found - factor * expected).norm(dim=1)
        except Exception as error:  # as above
            return self._refuse(f"labels of sample {int(samples[0])} and further: {type(error).__name__}: "
                                f"{one_line(error)}")  # fmt: skip
        # In units of a usual sample's gradient: where all are nearly 0, rounding is all that is left.
        scale = factor.abs() * ((size / len(expected)).sqrt() + 1e-3)
        departures = torch.where(factor > 0, distance / scale, math.inf)
        return self._departures.append((samples, departures, _tolerance(gradient, logits)))

    def _refuse(self, reason: str) -> None:
        self.refusal, self._values, self._pending, self._first = self.refusal or reason, None, None, []


def storage(n: int, like: Tensor, memory: int) -> Tensor:
    """Return room for n rows like those of a tensor, on its device, or in a file if it takes more than some bytes.

    Raises:
        SolverError: there is no room on disk.
    """
    width, dtype = like.shape[1], like.dtype
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


def _residuals(logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    """Return the derivative of every sample's cross-entropy by its logits (n, classes) or (n, 1)."""
    labels = labels.to(logits.device).reshape(len(logits))
    logits = logits.reshape(len(logits), -1).to(torch.promote_types(logits.dtype, torch.float32))
    if logits.shape[1] == 1:
        residuals = torch.sigmoid(logits) - labels[:, None].to(logits.dtype)
    else:
        residuals = torch.softmax(logits, dim=1) - one_hot(labels.long(), logits.shape[1])
    return residuals if weights is None else residuals * weights.to(residuals)[:, None]


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


def _argument(arguments: tuple, named: dict) -> Tensor:
    return arguments[0] if arguments else named["input"]


def _clone(inputs: Any) -> Any:
    """Return inputs of a network with their tensors copied: the caller may write into them."""
    if isinstance(inputs, Tensor):
        return inputs.detach().clone()
    if isinstance(inputs, Mapping):
        return {key: _clone(value) for key, value in inputs.items()}
    return tuple(_clone(value) for value in inputs) if isinstance(inputs, tuple | list) else inputs
