"""torch modules, with arrays, several inputs, or batches of the caller's own."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler

from datagradient.errors import UserError, one_line
from datagradient.influence.batches import Arrays, Batches, Inputs, Samples, leaves, length, mapped
from datagradient.influence.labels import binary_numbers, class_numbers
from datagradient.influence.last_layer import LastLayerProblem
from datagradient.influence.losses import takes_logits
from datagradient.influence.modules import first_pass, logits_of, single_precision
from datagradient.influence.network import NetworkProblem
from datagradient.influence.projected import ProjectedProblem
from datagradient.influence.record import Record
from datagradient.influence.scores import Problem, curvature_rows
from datagradient.interface.adapters import Scorable, Stated, Validation, by_class, checked_weights, of_samples

FAMILY = "neural"
LABELS = ("labels", "label", "targets", "target")  # of a batch that is a mapping
FORMS = (
    "a pair (inputs, labels) of arrays, or a DataLoader or list of batches: each a tuple whose last entry is the "
    "labels, or a mapping with 'labels'"
)


def scorable(
    model: nn.Module, train: Any, validation: Any, stated: Stated, form: dict[str, Any], seed: int
) -> Scorable:
    """Return the network as it is scored; arguments and errors are those of `influence_scores`."""
    _refuse_sizeless(model)
    dtype = next((value.dtype for value in model.parameters()), torch.float32)
    inputs, labels = _samples(train, "training", dtype)
    weights = checked_weights(stated.sample_weight, len(labels))
    factors = _factors(stated, labels, model, inputs)
    before = _sums(model)

    def problem(inputs: Samples, labels: Any, rows: Any, weights: NDArray[np.float64] | None) -> Problem:
        options = {"rows": rows, "weights": weights}
        last = form.get("parameters", "last") == "last"
        if form.get("parameters") == "projected":
            if not takes_logits(stated.loss):
                raise UserError("solver: parameters: projected is for cross-entropy; use parameters: all")
            return _checked(ProjectedProblem(model, unchanged, inputs, labels, **options), stated)
        if last and takes_logits(stated.loss):
            return _checked(LastLayerProblem(model, unchanged, inputs, labels, **options), stated)
        curvature = form.get("curvature", "ggn")
        return NetworkProblem(
            model, unchanged, inputs, labels, curvature=curvature, loss=stated.loss, last=last, **options
        )

    def validation_of(data: Any) -> Validation:
        inputs, labels = _samples(data, "validation", dtype)
        return inputs, labels, _weights(factors, labels, "validation")

    def problem_of(new: Any) -> Problem:
        if _sums(model) != before:
            raise UserError("the network's parameters have changed since it was scored; score it again")
        inputs, labels = _samples(new, "new", dtype)
        if isinstance(whole, ProjectedProblem):
            return whole.further(inputs, labels, _weights(factors, labels, "new"))
        return problem(inputs, labels, None, _weights(factors, labels, "new"))

    rows = curvature_rows(len(labels), form.get("samples"), seed)
    whole = problem(inputs, labels, rows, _weights(factors, labels, "training", weights))
    return Scorable(
        whole,
        validation_of(validation),
        validation_of,
        problem_of,
        scoring,
    )


def unchanged(inputs: Inputs) -> Inputs:
    """Return inputs, which are tensors already."""
    return inputs


def _checked(problem: LastLayerProblem | ProjectedProblem, stated: Stated) -> Problem:
    """Refuse a loss for another number of outputs than the network has."""
    expected = {"cross_entropy": problem.n_margins > 1, "binary_cross_entropy": problem.n_margins == 1}
    if isinstance(stated.loss, str) and not expected[stated.loss]:
        raise UserError(f"loss {stated.loss}, and the network has {problem.n_margins} output(s); pass "
                        f"loss='{'binary_cross_entropy' if problem.n_margins == 1 else 'cross_entropy'}'")  # fmt: skip
    return problem


@contextmanager
def scoring() -> Iterator[None]:
    """Within this context gradients can be computed, in full single precision, whatever the caller has switched off.

    Errors are one sentence.

    Raises:
        UserError: the network, the loss or the caller's samples fail.
    """
    try:
        with torch.inference_mode(False), torch.enable_grad(), single_precision():
            yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {one_line(error)[:300]}"
        raise UserError(
            f"the network, its loss or its samples fail: {what}; run the network and the loss on a batch, with a "
            "backward pass, to see where"
        ) from error


def _sums(model: nn.Module) -> list[float]:
    """Return numbers that tell whether a parameter or buffer has changed."""
    return [float(value.detach().double().sum()) for value in [*model.parameters(), *model.buffers()]]


def _factors(stated: Stated, labels: Tensor, model: nn.Module, inputs: Samples) -> NDArray[np.float64] | None:
    if stated.class_weight is None:
        return None
    if not takes_logits(stated.loss):
        raise UserError("class_weight, and a loss that is not of classes; put the factors into the loss")
    device = next(model.parameters()).device
    with torch.no_grad():
        _, x = next(iter(inputs[:2].batches(device)))
        n_classes = max(2, first_pass(model, lambda: logits_of(model, {}, x)).shape[1])
    weights: Any = stated.class_weight
    if isinstance(weights, Tensor):
        weights = weights.detach().cpu().tolist()
    return by_class(weights, np.arange(n_classes), _numbers(labels, n_classes, "training"))


def _numbers(labels: Tensor, n_classes: int, part: str) -> NDArray[np.int64]:
    numbers = labels.detach().cpu().reshape(len(labels), -1)[:, 0].numpy()
    check = binary_numbers if n_classes == 2 else partial(class_numbers, n_classes=n_classes)
    return check(numbers, len(numbers), part=part).astype(np.int64)


def _weights(
    factors: NDArray[np.float64] | None, labels: Tensor, part: str, weights: NDArray[np.float64] | None = None
) -> NDArray[np.float64] | None:
    return weights if factors is None else of_samples(factors, _numbers(labels, len(factors), part), weights)


def _refuse_sizeless(model: nn.Module) -> None:
    lazy = [name for name, value in model.named_parameters() if isinstance(value, nn.UninitializedParameter)]
    if lazy:
        raise UserError(f"parameter {lazy[0]} of the network has no size yet; run the network once, and train it")


def _samples(data: Any, part: str, dtype: torch.dtype) -> tuple[Any, Tensor]:
    """Return samples that can be passed over again and again, or a record of them, and their labels (n, …)."""
    if isinstance(data, tuple) and isinstance(data[0], Record):
        return data
    if isinstance(data, tuple | list) and len(data) == 2 and _is_array(data[1]) and not _is_batch(data[0], data[1]):
        return _arrays(data[0], data[1], part, dtype)
    if isinstance(data, Dataset) and not isinstance(data, IterableDataset):
        data = DataLoader(data, batch_size=200)
    if isinstance(data, Iterator):
        raise UserError(f"{part} is a {type(data).__name__}, which can be read once; pass a DataLoader or a list")
    if not isinstance(data, Iterable) or isinstance(data, str | Mapping | np.ndarray | Tensor):
        raise UserError(f"{part} is a {type(data).__name__}; pass {FORMS}")
    if isinstance(data, DataLoader) and isinstance(data.sampler, RandomSampler):
        raise UserError(f"{part}: the DataLoader shuffles, and scores are in the order of the samples; pass "
                        f"DataLoader(loader.dataset, batch_size={data.batch_size}, shuffle=False)")  # fmt: skip
    return _batches(data, part, dtype)


def _is_array(values: Any) -> bool:
    return hasattr(values, "shape") or (isinstance(values, list) and not any(map(_is_array, values[:1])))


def _is_batch(inputs: Any, labels: Any) -> bool:
    """Return whether a list of two is two batches, and not inputs and labels."""
    return isinstance(inputs, tuple | list | Mapping) and isinstance(labels, tuple | Mapping)


def _arrays(inputs: Any, labels: Any, part: str, dtype: torch.dtype) -> tuple[Samples, Tensor]:
    tensors, targets = mapped(lambda array: _tensor(array, part, dtype), inputs), _tensor(labels, part, None)
    counts = {len(tensor) for tensor in leaves(tensors)}
    if counts != {len(targets)}:
        raise UserError(f"{part}: inputs of {', '.join(map(str, sorted(counts)))} samples and {len(targets)} labels; "
                        "pass one label for each sample")  # fmt: skip
    if not len(targets):
        raise UserError(f"{part}: there is no sample")
    for tensor in leaves(tensors):
        # One pass for the usual case: a sum that is finite has finite parts.
        if tensor.is_floating_point() and not torch.isfinite(tensor.sum(dtype=torch.double)):
            sample = int((~torch.isfinite(tensor).reshape(len(tensor), -1).all(dim=1)).nonzero()[0])
            raise UserError(f"{part} inputs: a value of sample {sample} is not finite; fill it in, as for training")
    return Arrays(tensors, unchanged, _batch_size(tensors)), targets


def _batch_size(tensors: Inputs) -> int:
    """Return how many samples at once stay in the processor's cache."""
    widest = max(leaves(tensors), key=lambda tensor: tensor[0].numel())
    return 200 if widest.dim() > 2 else 2000 if widest.is_floating_point() else 500


def _tensor(array: Any, part: str, dtype: torch.dtype | None) -> Tensor:
    """Return an array as a tensor; real numbers in the network's precision."""
    if not isinstance(array, Tensor):
        values = np.asarray(array)
        if values.dtype.kind not in "biuf":
            raise UserError(f"{part}: an array of type {values.dtype}; pass numbers")
        array = torch.from_numpy(values.copy() if not values.flags.writeable else np.ascontiguousarray(values))
    tensor: Tensor = array.detach()
    return tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor


def _batches(data: Iterable[Any], part: str, dtype: torch.dtype) -> tuple[Samples, Tensor]:
    """Return the caller's batches, read once for their labels, and compared at the start of a second time."""

    def read() -> Iterator[tuple[Inputs, Tensor]]:
        for number, batch in enumerate(data):
            inputs, labels = split_batch(batch, f"{part} batch {number}")
            yield mapped(lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor, inputs), labels

    sizes: list[int] = []
    labels_of: list[Tensor] = []
    marks: list[list[float]] = []
    for inputs, targets in read():
        if any(len(tensor) != len(targets) for tensor in leaves(inputs)):
            raise UserError(f"{part} batch {len(sizes)}: inputs of {length(inputs)} samples and {len(targets)} labels")
        sizes.append(len(targets))
        labels_of.append(targets.detach().cpu())
        marks.append(_marks(inputs, targets))
    if not sizes:
        raise UserError(f"{part}: there is no batch")

    def read_again() -> Iterator[Inputs]:
        for number, (inputs, targets) in enumerate(read()):
            if number < len(marks) and _marks(inputs, targets) != marks[number]:
                raise UserError(
                    f"{part} batch {number} is another one when it is read again: the samples are shuffled or changed "
                    "at random; pass a loader without shuffling and random augmentation"
                )
            yield inputs

    return Batches(read_again, sizes), torch.cat(labels_of)


def _marks(inputs: Inputs, labels: Tensor) -> list[float]:
    """Return numbers that tell whether a batch is another one: of its tensors, weighted by position."""
    marks = []
    for tensor in [*leaves(inputs), labels]:
        rows = torch.nan_to_num(tensor.detach().reshape(len(tensor), -1).double()).sum(dim=1)
        marks.append(float(rows @ torch.arange(1, len(rows) + 1, dtype=torch.double, device=rows.device)))
    return marks


def split_batch(batch: Any, where: str) -> tuple[Inputs, Tensor]:
    """Return what the network takes of a batch, and the labels."""
    inputs: Any
    if isinstance(batch, Mapping):
        key = next((name for name in LABELS if name in batch), None)
        if key is None:
            raise UserError(f"{where} has the keys {', '.join(map(str, batch))}, and none of {', '.join(LABELS)}; name "
                            "the labels 'labels'")  # fmt: skip
        inputs, labels = {name: value for name, value in batch.items() if name != key}, batch[key]
    elif isinstance(batch, tuple | list) and len(batch) > 1:
        inputs, labels = batch[0] if len(batch) == 2 else tuple(batch[:-1]), batch[-1]
    else:
        raise UserError(f"{where} is a {type(batch).__name__}; pass {FORMS}")
    for value in [*leaves(inputs), labels]:
        if not isinstance(value, Tensor):
            raise UserError(f"{where} holds a {type(value).__name__}; pass tensors")
        if not value.dim():
            raise UserError(f"{where} is a single sample; pass batches, e.g. DataLoader(dataset, batch_size=200)")
    return mapped(lambda tensor: tensor, inputs), labels
