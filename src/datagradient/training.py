"""Reading what a model is trained and measured on from the files of 'prepare', 'noise' and 'prune'."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datagradient.errors import UserError
from datagradient.files import read_arrays, read_meta


@dataclass(frozen=True)
class TrainingSet:
    """The kept samples of a training part: D_k.

    Attributes:
        inputs: the n samples, in the form that the model takes.
        labels: (n,) as the model sees them, noise included.
        flipped: (n,) bool, which labels the noise changed.
        positions: (n,) where the samples stand in the whole training part.
        n_classes: number of classes.
        seed: the run's seed.
        dataset: name of the data set.
    """

    inputs: Any
    labels: np.ndarray
    flipped: np.ndarray
    positions: np.ndarray
    n_classes: int
    seed: int
    dataset: str


def load_training_set(form: str, data: str | Path, labels: str | Path, kept: str | Path | None) -> TrainingSet:
    """Read D_k; without `kept` it is the whole training part.

    Args:
        form: the model family's `INPUTS`, ``"features"`` or ``"raw"``.
        data: features.npz.
        labels: labels.npz.
        kept: kept.npz.
    """
    (inputs, _), meta = load_part(form, data, "train"), read_meta(data)
    noisy, noise_meta = read_arrays(labels, "labels", "flipped")
    n = inputs.shape[0]
    if (noise_meta["dataset"], noise_meta["seed"], len(noisy["labels"])) != (meta["dataset"], meta["seed"], n):
        raise UserError(f"{labels}: does not belong to {data}: another data set, seed or number of samples")
    positions = np.arange(n) if kept is None else read_arrays(kept, "positions")[0]["positions"]
    kept_labels, n_classes = noisy["labels"][positions], len(meta["class_names"])
    counts = np.bincount(kept_labels, minlength=n_classes)
    if not counts.all():
        numbers = ", ".join(f"{name} {count}" for name, count in zip(meta["class_names"], counts, strict=True))
        raise UserError(f"{kept or labels}: a class has no training sample: {numbers}; lower removal_fraction")
    flipped = noisy["flipped"][positions]
    return TrainingSet(inputs[positions], kept_labels, flipped, positions, n_classes, meta["seed"], meta["dataset"])


def load_part(form: str, data: str | Path, part: str) -> tuple[Any, np.ndarray]:
    """Read the samples, in the form that a model family takes, and the true labels of one part."""
    # A table's vectors are what networks take too.
    name = "features" if read_meta(data)["modality"] == "table" else form
    arrays, _ = read_arrays(data, f"{name}_{part}", f"labels_{part}")
    return arrays[f"{name}_{part}"], arrays[f"labels_{part}"]
