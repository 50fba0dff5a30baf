"""Keeping what influence needs of the samples in the last epoch of training, which has just computed it.

Hooks keep what the last layer takes, or the projected gradients by all layers. The weights are bit for bit those of
training without them. What is kept is of slightly older weights than the trained ones. Of some samples, those that were
seen first among them, it is computed again, so that what that costs is known.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from datagradient.errors import one_line
from datagradient.influence.derivative import Derivative, Seen, tolerance
from datagradient.influence.glm import ROWS
from datagradient.influence.modules import argument, evaluation, refuse_head, restored_generators
from datagradient.influence.projections import Projection, projections_of, with_gradients
from datagradient.influence.record import AFTERWARDS, MEMORY, Checked, Record, storage
from datagradient.influence.solvers import SolverError

# Samples, about, that are compared with the trained network: the first ones of the epoch, of its second half, the last.
CHECKED = (200, 100, 100)
ONE = torch.ones((), dtype=torch.int32)
FITTED = 256  # samples, at least, whose moments the directions of projections are found from


@dataclass
class _Batch:
    """Samples of a pass: their numbers, labels, and factors of their losses."""

    samples: Tensor
    labels: Tensor | None
    weights: Tensor | None

    def part(self, rows: slice) -> "_Batch":
        return _Batch(*(None if part is None else part[rows] for part in (self.samples, self.labels, self.weights)))


@dataclass
class _Pass:
    """A pass of the network: the layers that ran and, when it has ended, its samples."""

    runs: Counter = field(default_factory=Counter)
    last: tuple[str, Tensor, Tensor, int] | None = None  # linear layer that ran last: name, inputs, outputs, version
    batch: _Batch | None = None
    logits: Tensor | None = None
    is_checked: bool = False  # whether the derivative of its loss has been compared
    factor: Tensor | None = None  # by which its gradients are those of the sum of its samples' losses
    inputs: tuple[tuple, dict] | None = None  # what the network was called with


class _Hook:
    """A hook, of which a copied or pickled network keeps nothing."""

    def __init__(self, function: Callable[..., None] | None = None):
        self.function = function

    def __call__(self, *arguments: Any, **named: Any) -> None:
        if self.function is not None:
            self.function(*arguments, **named)

    def __reduce__(self) -> tuple:
        return _Hook, ()


class Recording:
    """Keeps numbers of a network's samples while it is trained for one epoch, or predicts.

    Within the context, `batch` says before each pass which samples it is of. Passes without gradients for which nothing
    was said, e.g. over validation samples, are not kept. Whatever goes wrong never disturbs the training: `record`
    refuses afterwards.

    Args:
        network: ends in an `nn.Linear` with a bias.
        n: number of samples.
        parameters: ``"last"`` for what the last layer takes, ``"projected"`` for the projected gradients by all layers.
        trains: whether the network changes meanwhile; then every sample needs labels and a backward pass.
        memory: bytes that the record may take in memory in single precision; a larger one is kept in half precision
            (bfloat16), and one that is larger still in a file without a name, which vanishes with the process.

    Raises:
        SolverError: the network has no layer whose gradients can be projected.
    """

    def __init__(
        self, network: nn.Module, n: int, parameters: str = "last", trains: bool = True, memory: int = MEMORY
    ):  # fmt: skip
        self.network, self.n, self.trains, self.memory = network, n, trains, memory
        self.refusal: str | None = None  # why there is no record: the first reason
        self.projections: dict[str, Projection] = projections_of(network) if parameters == "projected" else {}
        self._starts: dict[str, int] = {}  # where the numbers of each layer begin
        self._values: Tensor | None = None
        self._layer = ""
        self._times, self._count = (
            torch.zeros(n, dtype=torch.int32),
            0,
        )  # how often each sample was seen, and all together
        self._parts = torch.zeros(n, dtype=torch.int32)  # of each sample's values, that have been kept
        self._derivative = Derivative(n)
        self._pending: _Batch | None = None
        self._pass: _Pass | None = None
        self._again: list[tuple[int, _Batch, tuple, dict]] = []  # passes to be made again, by group
        self._waiting: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = {name: [] for name in self.projections}
        self._hooks: dict[str, Any] = {}  # of layers, by name
        self._around: list[Any] = []  # of the network

    def __enter__(self) -> "Recording":
        """Begin to keep."""
        for name, layer in self.network.named_modules():
            if isinstance(layer, nn.Linear) or name in self.projections:
                hook = _Hook(partial(self._ran, name))
                self._hooks[name] = layer.register_forward_hook(hook, with_kwargs=True)
        self._around = [self.network.register_forward_pre_hook(_Hook(self._before), with_kwargs=True),
                        self.network.register_forward_hook(_Hook(self._after))]  # fmt: skip
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        """Take all hooks away; after an error, drop what was kept."""
        for hook in (*self._hooks.values(), *self._around):
            hook.remove()
        self._hooks, self._around, self._pass = {}, [], None
        if kind is not None:
            self.refuse("the epoch was interrupted")

    def batch(self, positions: Any, labels: Any = None, weights: Any = None) -> None:
        """Say which samples the next pass is of; if it takes fewer, the pass after it takes the next ones.

        Args:
            positions: (m,) numbers of the samples, from 0.
            labels: (m,) their labels, as the loss takes them, which is checked to be their cross-entropy.
            weights: (m,) factors of their losses; None for 1.
        """
        if self._pending is not None:
            self.refuse(f"the pass over sample {int(self._pending.samples[0])} did not take place{self._compiled}")
        try:
            # Copies: the caller may use the same tensors for the next batch.
            numbers = torch.as_tensor(positions).detach().cpu().long().reshape(-1).clone()
            targets, factors = (None if part is None else torch.as_tensor(part).detach().reshape(len(numbers)).clone()
                                for part in (labels, weights))  # fmt: skip
        except (TypeError, ValueError, RuntimeError) as error:
            return self.refuse(f"a batch's numbers, labels or weights are not one for each sample: {one_line(error)}")
        if not len(numbers):
            return None
        least, most = numbers.aminmax()
        if int(least) < 0 or int(most) >= self.n:
            strange = numbers[(numbers < 0) | (numbers >= self.n)]
            self.refuse(f"there is no sample {int(strange[0])}: there are {self.n}, counted from 0")
        if self.refusal is None:
            self._pending = _Batch(numbers, targets, factors)
        return None

    def refuse(self, reason: str) -> None:
        """Keep nothing more, for a reason that `record` gives; the first one counts."""
        self.refusal, self._values, self._pending = self.refusal or reason, None, None
        self._again, self._waiting = [], {}

    def record(self) -> Record:
        """Return what was kept.

        Raises:
            SolverError: a sample was seen twice or never, the network cannot be recorded, or its loss is another.
        """
        try:
            for name in self._waiting:
                self._project_waiting(name)
        except SolverError as error:
            self.refuse(str(error))
        if self.refusal is not None:
            raise SolverError(f"record: {self.refusal}")
        try:
            self._refuse_repeated()
        except SolverError as error:
            raise SolverError(f"record: {error}") from error
        missing = (self._times == 0).nonzero()
        if len(missing):
            raise SolverError(f"record: sample {int(missing[0])} was never seen, as {len(missing)} of {self.n}; record "
                              "a whole epoch, and drop no last batch in it (drop_last=False)")  # fmt: skip
        if self.trains:
            self._derivative.check(AFTERWARDS)
        lacking = (self._parts < max(len(self.projections), 1)).nonzero()
        if len(lacking) or self._values is None:
            raise SolverError(f"record: sample {int(lacking[0])} had no backward pass through all layers")
        for start, part in enumerate(self._values.split(ROWS)):
            finite = torch.isfinite(part).all(dim=1)
            if not finite.all():
                sample = start * ROWS + int((~finite).nonzero()[0])
                what = "the gradient" if self.projections else "what the last layer takes"
                raise SolverError(f"record: {what} of sample {sample} is not finite")
        return Record(self._layer, self._values, self._checked() if self.trains else None, self.projections or None)

    def _refuse_repeated(self) -> None:
        again = (self._times > 1).nonzero()
        if len(again):
            raise SolverError(
                f"sample {int(again[0])} was seen twice; record one epoch, in which every sample comes once"
            )

    @property
    def _compiled(self) -> str:
        compiled = hasattr(self.network, "_orig_mod")
        return "; a network that was compiled before skips hooks: record it without torch.compile" if compiled else ""

    def _checked(self) -> Checked:
        """Return some samples with their values in the network as it is now."""
        now = [self._now(batch, arguments, named) for _, batch, arguments, named in self._again]
        samples = [batch.samples[: len(values)] for (_, batch, *_), values in zip(self._again, now, strict=True)]
        groups = [np.full(len(values), group) for (group, *_), values in zip(self._again, now, strict=True)]
        return Checked(torch.cat(samples).numpy(), torch.cat(now), np.concatenate(groups))

    def _now(self, batch: _Batch, arguments: tuple, named: dict) -> Tensor:
        layer, taken = self.network.get_submodule(self._layer), _first_length((arguments, named))
        batch = batch.part(slice(taken))

        def run() -> Any:
            # A pass may change the network's buffers and its inputs.
            buffers = {name: value.clone() for name, value in self.network.named_buffers()}
            return functional_call(self.network, buffers, _cloned(arguments), _cloned(named))

        with evaluation(self.network), restored_generators(layer.weight.device):
            if self.projections:
                labelled = batch.labels, batch.weights
                return with_gradients(self.network, self.projections, lambda: _logits(run()), *labelled)
            seen: list[Tensor] = []
            hook = layer.register_forward_hook(lambda _, *passed: seen.append(argument(*passed[:2])), with_kwargs=True)
            try:
                with torch.no_grad():
                    run()
            finally:
                hook.remove()
            return seen[-1][:taken]

    def _before(self, _: nn.Module, arguments: tuple, named: dict) -> None:
        self._pass = None
        if self._pending is None:
            if torch.is_grad_enabled():
                self.refuse("the network ran on samples that were not named; name them before each pass, and let "
                            "others pass under torch.no_grad()")  # fmt: skip
        elif self.refusal is None:
            self._pass = _Pass()
            if self.trains and self._group() is not None:
                self._pass.inputs = _cloned(arguments, CHECKED[0]), _cloned(named, CHECKED[0])

    def _group(self) -> int | None:
        """Return the group of samples to be compared that the next ones belong to, None for none."""
        begins = (0, self.n // 2, self.n - CHECKED[2])
        return next((group for group, (begin, size) in enumerate(zip(begins, CHECKED, strict=True))
                     if begin <= self._count < begin + size), None)  # fmt: skip

    def _ran(self, name: str, layer: nn.Module, arguments: tuple, named: dict, output: Any) -> None:
        current = self._pass
        if current is None or not isinstance(output, Tensor):
            return
        current.runs[name] += 1
        inputs = argument(arguments, named).detach()
        if isinstance(layer, nn.Linear):
            current.last = name, inputs, output, output._version
        if name in self.projections and output.requires_grad:
            # Here, since an operation in place may turn the tensor into its own result afterwards.
            output.register_hook(_Hook(partial(self._arrived, current, name, inputs)))

    def _after(self, _: nn.Module, __: tuple, output: Any) -> None:
        current, self._pass = self._pass, None
        if current is None:
            return
        try:
            if self.refusal is None:
                self._take(current, _logits(output))
        except SolverError as error:
            self.refuse(str(error))
        except Exception as error:  # a record never disturbs the training
            self.refuse(f"{type(error).__name__}: {one_line(error)}")
        current.last = None  # which holds the whole pass

    def _take(self, current: _Pass, logits: Any) -> None:
        """Keep what the last layer took in a pass that has just ended, or prepare for the gradients."""
        inputs, outputs = self._last_layer(current, logits)
        self._name_samples(current, len(inputs))
        batch, kept = current.batch, outputs.detach()
        if self.trains:
            if batch.labels is None or not outputs.requires_grad:
                raise SolverError(f"sample {int(batch.samples[0])} passed without labels or without gradients; its "
                                  "loss cannot be checked")  # fmt: skip
            current.logits = kept
            if not self.projections:
                outputs.register_hook(_Hook(partial(self._check, current)))
        if not self.projections:
            return self._keep(batch.samples, inputs, 0, inputs.shape[1])
        if not self._starts:
            # Others are used without running themselves, or not at all: they count as held fixed.
            self.projections = {name: part for name, part in self.projections.items() if current.runs[name]}
            first = 0
            for name, projection in self.projections.items():
                self._starts[name] = first
                first += projection.size
            self._waiting = {name: [] for name in self.projections}
        for name in self.projections:
            if current.runs[name] != 1:
                runs = "does not run" if not current.runs[name] else "runs twice"
                raise SolverError(f"layer {name} {runs} in a pass; record the last layer alone")
        return None

    def _last_layer(self, current: _Pass, logits: Any) -> tuple[Tensor, Tensor]:
        """Return what the linear layer that ran last took and gave; or refuse the network."""
        if current.last is None and self._layer:
            raise SolverError(f"the last linear layer, {self._layer}, did not run in a pass; {AFTERWARDS} and "
                              "parameters: all")  # fmt: skip
        if current.last is None:
            raise SolverError(f"the network has no last linear layer with a bias; {AFTERWARDS} and parameters: all"
                              f"{self._compiled}")  # fmt: skip
        name, inputs, outputs, version = current.last
        if not self._layer:
            refuse_head(self.network, name, remedy=f"{AFTERWARDS} and parameters: all")
            self._layer = name
            for other in [other for other in self._hooks if other not in {name, *self.projections}]:
                self._hooks.pop(other).remove()  # which only the first pass needs
        if inputs.dim() != 2:
            raise SolverError(f"the last linear layer, {name}, takes the shape {tuple(inputs.shape)}; {AFTERWARDS} and "
                              "parameters: all")  # fmt: skip
        if name != self._layer or current.runs[name] > 1 or outputs._version != version or not _same(logits, outputs):
            raise SolverError(
                f"the logits are not those of the last linear layer, {name}; {AFTERWARDS} and parameters: all"
            )
        return inputs, outputs

    def _name_samples(self, current: _Pass, taken: int) -> None:
        """Give a pass its samples: the first ones of those that were named."""
        assert self._pending is not None
        left, group = len(self._pending.samples), self._group()
        if taken > left:
            raise SolverError(f"a pass took {taken} samples, and {left} were named: name those of each pass before it")
        current.batch, self._pending = self._pending, None
        if left > taken:
            current.batch, self._pending = current.batch.part(slice(taken)), current.batch.part(slice(taken, None))
        self._times.index_put_((current.batch.samples,), ONE, accumulate=True)
        self._count += taken
        if self._count > self.n:  # a long training is not kept to its end for nothing
            self._refuse_repeated()
        if current.inputs is not None and group is not None:
            self._again.append((group, current.batch, *current.inputs))
            current.inputs = None

    def _check(self, current: _Pass, gradient: Tensor) -> None:
        """Compare the derivative of a pass's loss with that of cross-entropy."""
        try:
            if self.refusal is None and current.factor is None and current.batch is not None:
                batch = current.batch
                seen = Seen(batch.samples, gradient, current.logits, batch.labels, batch.weights)
                if self.projections:
                    current.factor = self._derivative.factor(seen)
                elif not current.is_checked:
                    current.is_checked = True
                    self._derivative.see(seen)
        except SolverError as error:
            self.refuse(str(error))
        except Exception as error:  # a record never disturbs the training
            self.refuse(f"labels of sample {int(current.batch.samples[0])} and further: {type(error).__name__}: "
                        f"{one_line(error)}")  # fmt: skip

    def _arrived(self, current: _Pass, name: str, inputs: Tensor, gradient: Tensor) -> None:
        """Keep the projected gradient by a layer, once directions are known."""
        if name == self._layer:
            self._check(current, gradient)
        if self.refusal is not None or current.batch is None or name not in self.projections:
            return
        try:
            if current.factor is None:
                raise SolverError(f"layer {name} gets gradients that do not come through the last layer")
            with torch.no_grad():
                sides, known = gradient.float() / current.factor, self.projections[name].right is not None
                # What waits is a copy: the caller may use the same tensors for the next batch.
                self._waiting[name].append((current.batch.samples, inputs if known else inputs.clone(), sides))
                if known:
                    return self._project_waiting(name)
                self.projections[name].see(inputs, sides)
                if sum(len(samples) for samples, *_ in self._waiting[name]) >= FITTED:
                    self._project_waiting(name)
        except SolverError as error:
            self.refuse(str(error))
        except Exception as error:
            self.refuse(f"layer {name}: {type(error).__name__}: {one_line(error)}")
        return None

    @torch.no_grad()
    def _project_waiting(self, name: str) -> None:
        projection, waiting, self._waiting[name] = self.projections[name], self._waiting[name], []
        if projection.right is None and waiting:
            projection.fit()
        width = sum(each.size for each in self.projections.values())
        for samples, inputs, sides in waiting:
            self._keep(samples, projection(inputs, sides), self._starts[name], width)

    def _keep(self, samples: Tensor, values: Tensor, first: int, width: int) -> None:
        """Store some of the numbers of some samples: those from `first` on, of `width`."""
        if self._values is None:
            self._values = storage(self.n, width, values, self.memory)
        if self._values.shape[1] != width:
            raise SolverError(f"the last layer takes {width} values, and {self._values.shape[1]} before")
        rows = samples.to(self._values.device)
        self._values[rows, first : first + values.shape[1]] = values.to(self._values.device, self._values.dtype)
        self._parts.index_put_((samples,), ONE, accumulate=True)


def _logits(output: Any) -> Any:
    return output["logits"] if isinstance(output, Mapping) and "logits" in output else output


def _same(logits: Any, outputs: Tensor) -> bool:
    """Return whether the network's logits are what its last layer gave, up to their shape and precision."""
    if not isinstance(logits, Tensor) or logits.numel() != outputs.numel():
        return False
    if logits.data_ptr() == outputs.data_ptr():
        return True
    off = tolerance(outputs, logits)
    return torch.allclose(logits.detach().reshape(outputs.shape).double(), outputs.detach().double(), off, off,
                          equal_nan=True)  # fmt: skip


def _cloned(inputs: Any, rows: int | None = None) -> Any:
    """Return inputs of a network with their tensors copied, cut to some rows: the caller may write into them."""
    if isinstance(inputs, Tensor):
        return (inputs if rows is None or not inputs.dim() else inputs[:rows]).detach().clone()
    if isinstance(inputs, Mapping):
        return {key: _cloned(value, rows) for key, value in inputs.items()}
    if isinstance(inputs, tuple | list):
        values = [_cloned(value, rows) for value in inputs]
        return type(inputs)(*values) if hasattr(inputs, "_fields") else type(inputs)(values)
    return inputs


def _first_length(inputs: Any) -> int:
    """Return the number of rows of the first tensor that inputs hold."""
    if isinstance(inputs, Tensor):
        return len(inputs)
    parts = inputs.values() if isinstance(inputs, Mapping) else inputs if isinstance(inputs, tuple | list) else ()
    return next((length for length in map(_first_length, parts) if length), 0)
