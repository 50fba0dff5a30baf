"""Neural networks, trained with AdamW on one cycle of learning rates."""

import copy
import math
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from datagradient.errors import UserError
from datagradient.files import read_arrays, write_arrays
from datagradient.influence.last_layer import LastLayerProblem
from datagradient.influence.network import NetworkProblem
from datagradient.influence.projected import ProjectedProblem
from datagradient.influence.record import Record, record_from
from datagradient.influence.recording import Recording
from datagradient.models.networks import build
from datagradient.models.networks.devices import best_device
from datagradient.seeds import integer_seed

FAMILY = {
    "inputs": "raw",
    "random": True,
    "gpu": True,
    "single_precision": True,
    "records": True,
    "colour": "#D55E00",
    "marker": "s",
    "settings": {
        # small: an MLP, a pooled embedding or a CNN, depending on the kind of data; or resnet18 for images.
        "network": {"words": ("small", "resnet18"), "default": "small"},
        "width": {"type": "whole", "ge": 1, "le": 4096, "default": 32},
        # For texts; 0 and 1 stand for padding and for an unknown word.
        "vocabulary": {"type": "whole", "ge": 3, "le": 100_000, "default": 10_000},
        "epochs": {"type": "whole", "ge": 1, "le": 100_000, "default": 8},
        "batch_size": {"type": "whole", "ge": 1, "default": 64},
        "learning_rate": {"type": "number", "gt": 0, "default": 3.0e-3},  # the highest of the cycle
        "weight_decay": {"type": "number", "ge": 0, "default": 0.05},  # AdamW's, decoupled
        # Share of the steps, the last ones, whose weights are averaged; 0: the weights are those of the last step.
        "averaging": {"type": "number", "ge": 0, "lt": 1, "default": 0},
        "precision": {"words": ("float32", "bfloat16"), "default": "float32"},  # bfloat16: mixed, for GPUs
    },
    "solver": {  # chosen by benchmarks/choose.py, but for texts: docs/cost.md
        "name": "record",  # what the last epoch of training kept; without a record cg, after a pass over the samples
        "damping": 0.1,
        "tolerance": 1.0e-2,
        "max_iterations": 300,
        "samples": 2000,  # number that curvature is averaged over; None for the whole training set
        "curvature": "ggn",  # or hessian; the same for the last layer
        "parameters": "last",  # influence by the last layer's parameters, the others held fixed; or all
        "preconditioner": "own",  # of cg: the problem's own, if it has one; or ekfac, for all parameters
        # Overrides by kind of data. A fixed number of steps instead of a tolerance; with EK-FAC only three were tried.
        "table": {"name": "cg", "parameters": "all", "damping": 0.1, "samples": 500, "tolerance": 0,
                  "max_iterations": 3},
        "text": {"name": "cg", "parameters": "all", "damping": 0.01, "samples": 500, "preconditioner": "ekfac",
                 "tolerance": 0, "max_iterations": 3},
    },
}  # fmt: skip
SCORING_BATCH = {"image": 200, "text": 500, "table": 2000}  # small enough for the processor's cache
WARM_UP = 0.2  # share of the steps during which the learning rate rises


@dataclass(frozen=True)
class NeuralModel:
    """A network in evaluation mode, and the facts needed to rebuild it."""

    network: nn.Module
    kind: str
    shape: tuple[int, ...]
    n_classes: int
    settings: dict


def fit(
    inputs: np.ndarray, labels: np.ndarray, n_classes: int, settings: dict, seed: int, weights: np.ndarray | None = None
) -> tuple[NeuralModel, dict]:
    """Train a network; the same seed gives the same network.

    With ``averaging`` the weights are the plain mean of those after each of the last steps, and the learning rate stays
    at its highest after the warm-up (stochastic weight averaging, Izmailov et al., UAI 2018): weights that a falling
    rate has brought to rest hardly differ, and their mean is like the last. The averaged network is the one that
    predicts and that influence is computed at.

    Args:
        inputs: bytes (n, height, width, channels) of images, token numbers (n, length) of texts, or
            real numbers (n, features) of tables; they determine the kind of network.
        labels: (n,), values 0 … n_classes − 1.
        n_classes: number of classes.
        settings: ``network``, ``width``, ``vocabulary``: see `datagradient.models.networks.build`; ``epochs``,
            ``batch_size``, ``learning_rate`` (the highest of the cycle), ``weight_decay`` (AdamW's, decoupled);
            ``averaging``, the share of the steps that are averaged, rounded up to whole steps, 0 for none;
            ``precision``, ``"float32"`` or ``"bfloat16"`` for mixed precision.
        seed: drives initialisation and the order of samples.
        weights: factors of the losses (n,); None for 1. A sample of weight 0 only keeps its place in the order.

    Returns:
        The model, and a record: optimiser, steps, how many of them were averaged (0: none), mean loss of every epoch
        (of the weights in training, not of their mean), and the seconds inside the fit.

    Raises:
        UserError: the loss is not finite.
    """
    return _fitted(inputs, labels, n_classes, settings, seed, weights, "")[:2]


def fit_recorded(
    inputs: np.ndarray, labels: np.ndarray, n_classes: int, settings: dict, seed: int, parameters: str = "last"
) -> tuple[NeuralModel, dict, Record | None]:  # fmt: skip
    """Train the network that `fit` trains, and keep in the last epoch what influence needs.

    Args:
        inputs: this and what follows are as for `fit`.
        labels: (n,).
        n_classes: number of classes.
        settings: of the training.
        seed: of the training.
        parameters: ``"last"`` to keep what the last layer takes, ``"projected"`` for projected gradients by all.

    Returns:
        The model, the record of its training, and that of the samples; None where weights are averaged, since the
        averaged network saw no sample.
    """
    return _fitted(inputs, labels, n_classes, settings, seed, None, "" if settings["averaging"] else parameters)


def _fitted(
    inputs: np.ndarray, labels: np.ndarray, n_classes: int, settings: dict, seed: int, weights: np.ndarray | None,
    recorded: str,
) -> tuple[NeuralModel, dict, Record | None]:  # fmt: skip
    device, (kind, samples) = best_device(), to_tensor(inputs)
    network = fresh(kind, tuple(samples.shape[1:]), n_classes, settings, seed).to(device)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=settings["learning_rate"], weight_decay=settings["weight_decay"]
    )
    # The clock starts here because the first optimiser of a process imports torch's compiler.
    start = time.perf_counter()
    samples, targets = samples.to(device), torch.from_numpy(labels).to(device)
    factors = None if weights is None else torch.from_numpy(weights).float().to(device)
    order = torch.Generator().manual_seed(integer_seed(seed, "order of samples"))
    n, size, epochs = len(labels), int(settings["batch_size"]), int(settings["epochs"])
    steps = epochs * math.ceil(n / size)
    if steps < 3:
        raise UserError(f"neural: {n} samples in batches of {size} for {epochs} epochs are {steps} steps: too few")
    rising = max(WARM_UP, 2 / steps)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings["learning_rate"], total_steps=steps, pct_start=rising
    )
    averaged = math.ceil(settings["averaging"] * steps)
    average = AveragedModel(network) if averaged else None
    changes = round(rising * steps) - 1 if averaged else steps  # of the learning rate, which then stays
    step, losses, mixed = 0, [], settings["precision"] == "bfloat16"
    recording = Recording(network, n, recorded) if recorded else None
    for epoch in tqdm(range(epochs), "epochs", disable=None):
        total = torch.zeros((), device=device)
        with recording if recording and epoch == epochs - 1 else nullcontext() as recorder:
            rows = torch.randperm(n, generator=order)
            for numbers, batch in zip(rows.split(size), rows.to(device).split(size), strict=True):
                if recorder:
                    recorder.batch(numbers, targets[batch])
                with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
                    logits = network(samples[batch])
                    loss = _mean_loss(logits, targets[batch], None if weights is None else factors[batch])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                step += 1
                if step <= changes:
                    cycle.step()
                if step > steps - averaged:
                    average.update_parameters(network)
                total += loss.detach() * len(batch)
        losses.append(float(total) / n)
        if not math.isfinite(losses[-1]):
            raise UserError(f"neural: the loss is {losses[-1]} in epoch {epoch + 1}; lower learning_rate")
    kept = recording.record() if recording else None
    seconds = time.perf_counter() - start
    trained = average.module if averaged else network
    model = NeuralModel(trained.eval().cpu(), kind, tuple(samples.shape[1:]), n_classes, settings)
    return model, {
        "optimiser": "torch AdamW", "iterations": steps, "averaged_steps": averaged, "losses": losses,
        "seconds": seconds,
    }, kept  # fmt: skip


def _mean_loss(logits: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    if weights is None:
        return cross_entropy(logits, targets)
    return (weights * cross_entropy(logits, targets, reduction="none")).sum() / weights.sum().clamp(min=1e-12)


def to_tensor(inputs: np.ndarray) -> tuple[str, Tensor]:
    """Return the kind of the inputs, and the inputs as tensors for the network; images become channels-last."""
    if inputs.ndim == 4:
        # A view of the same memory, which has the channels-last order, the fastest one for convolutions.
        return "image", torch.from_numpy(np.ascontiguousarray(inputs)).permute(0, 3, 1, 2)
    if np.issubdtype(inputs.dtype, np.integer):
        return "text", torch.from_numpy(inputs.astype(np.int32))
    return "table", torch.from_numpy(np.ascontiguousarray(inputs, dtype=np.float32))


def probabilities(model: NeuralModel, inputs: np.ndarray) -> np.ndarray:
    """Return the class probabilities (n, classes)."""
    return _predicted(model, inputs, recorded=False)[0]


def record_of(model: NeuralModel, arrays: Mapping[str, np.ndarray]) -> Record:
    """Return the record of a network that `Record.arrays` gave."""
    return record_from(arrays, model.network)


def probabilities_recorded(model: NeuralModel, inputs: np.ndarray) -> tuple[np.ndarray, Record]:
    """Return the class probabilities (n, classes), and what the last layer took for them."""
    predicted, recording = _predicted(model, inputs, recorded=True)
    assert recording is not None
    return predicted, recording.record()


@torch.no_grad()
def _predicted(model: NeuralModel, inputs: np.ndarray, recorded: bool) -> tuple[np.ndarray, Recording | None]:
    device = best_device()
    network = _on(device, model.network)
    batches = to_tensor(inputs)[1].split(SCORING_BATCH[model.kind])
    recording, logits, start = Recording(network, len(inputs), trains=False) if recorded else None, [], 0
    with recording or nullcontext():
        for batch in batches:
            if recording:
                recording.batch(range(start, start + len(batch)))
            logits.append(network(batch.to(device)).cpu())
            start += len(batch)
    return torch.softmax(torch.cat(logits).double(), dim=1).numpy(), recording


def problem(
    model: NeuralModel,
    inputs: np.ndarray | Record,
    labels: np.ndarray,
    rows: np.ndarray | None = None,
    curvature: str = "ggn",
    parameters: str = "last",
) -> NetworkProblem | LastLayerProblem | ProjectedProblem:
    """Return the influence problem of the network on its training set.

    The loss is plain cross-entropy. A network does not reveal its training loss: if it was trained with weights of
    classes or samples, label smoothing or squared error, the scores refer to a different loss than it minimises.

    Args:
        model: the trained model; its network is not changed or moved.
        inputs: training inputs, or their record.
        labels: training labels.
        rows: the training samples that H is averaged over; None for all.
        curvature: ``"ggn"`` or ``"hessian"``; the same for the last layer.
        parameters: ``"last"`` for those of the last layer, with the others held fixed; ``"all"`` for all;
            ``"projected"`` for all by projected gradients, see `datagradient.influence.projections`.
    """
    network = _on(best_device(), model.network)
    options = {"rows": rows, "batch_size": SCORING_BATCH[model.kind]}

    def tensor(samples: np.ndarray) -> Tensor:
        return to_tensor(samples)[1]

    if parameters == "projected":
        return ProjectedProblem(network, tensor, inputs, labels, **options)
    if parameters == "last":
        return LastLayerProblem(network, tensor, inputs, labels, **options)
    return NetworkProblem(network, tensor, inputs, labels, curvature=curvature, **options)


def save(path: Path, model: NeuralModel, meta: dict) -> None:
    """Write the parameters as plain arrays."""
    form = {"kind": model.kind, "shape": model.shape, "n_classes": model.n_classes, "settings": model.settings}
    write_arrays(path, {**meta, **form}, **{name: value.numpy() for name, value in model.network.state_dict().items()})


def load(path: Path) -> tuple[NeuralModel, dict]:
    """Read a model that `save` wrote."""
    arrays, meta = read_arrays(path)
    form = (meta["kind"], tuple(meta["shape"]), meta["n_classes"], meta["settings"])
    network = fresh(*form, seed=0)
    network.load_state_dict({name: torch.from_numpy(value) for name, value in arrays.items()})
    return NeuralModel(network.eval(), *form), meta


def _on(device: torch.device, network: nn.Module) -> nn.Module:
    """Return a network on a device: the network itself or a copy, so that the original is not moved."""
    return network if next(network.parameters()).device == device else copy.deepcopy(network).to(device)


def fresh(kind: str, shape: tuple[int, ...], n_classes: int, settings: dict, seed: int) -> nn.Module:
    """Return the network that a training with these settings and this seed begins with."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(integer_seed(seed, "initialisation"))
        network = build(kind, shape, n_classes, settings)
    return network.to(memory_format=torch.channels_last) if kind == "image" else network
