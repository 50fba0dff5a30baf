"""Reading what a model is trained and measured on from the files of 'prepare', 'noise' and 'prune'."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datagradient.errors import UserError
from datagradient.files import read_arrays


@dataclass(frozen=True)
class TrainingSet:
    """The kept samples of a training part: D_k.

    Attributes:
        features: (n, d).
        labels: (n,) as the model sees them, noise included.
        flipped: (n,) bool, which labels the noise changed.
        positions: (n,) where the samples stand in the whole training part.
        n_classes: number of classes.
        seed: the run's seed.
        dataset: name of the data set.
    """

    features: Any
    labels: np.ndarray
    flipped: np.ndarray
    positions: np.ndarray
    n_classes: int
    seed: int
    dataset: str


def load_training_set(data: str | Path, labels: str | Path, kept: str | Path | None) -> TrainingSet:
    """Read D_k; without `kept` it is the whole training part."""
    arrays, meta = read_arrays(data, "features_train")
    noisy, noise_meta = read_arrays(labels, "labels", "flipped")
    n = arrays["features_train"].shape[0]
    if (noise_meta["dataset"], noise_meta["seed"], len(noisy["labels"])) != (meta["dataset"], meta["seed"], n):
        raise UserError(f"{labels}: does not belong to {data}: another data set, seed or number of samples")
    positions = np.arange(n) if kept is None else read_arrays(kept, "positions")[0]["positions"]
    return TrainingSet(
        arrays["features_train"][positions], noisy["labels"][positions], noisy["flipped"][positions],
        positions, len(meta["class_names"]), meta["seed"], meta["dataset"],
    )  # fmt: skip


def load_part(data: str | Path, part: str) -> tuple[Any, np.ndarray]:
    """Read the features and the true labels of one part."""
    arrays, _ = read_arrays(data, f"features_{part}", f"labels_{part}")
    return arrays[f"features_{part}"], arrays[f"labels_{part}"]
