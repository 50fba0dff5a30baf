"""The data that a model is trained on: the kept samples of a training part."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.sparse import vstack

from datagradient.data.given import Given, joined


@dataclass(frozen=True)
class TrainingSet:
    """The kept samples of a training part: D_k.

    Attributes:
        inputs: the n samples, in the form that the model takes.
        labels: (n,) as the model sees them, noise included.
        flipped: (n,) bool, which labels are known to be wrong.
        positions: (n,) positions of the samples in the whole training part.
        n_classes: number of classes.
        seed: the run's seed.
        dataset: name of the data set.
        noise: share of the whole part's labels that were flipped, or the name of another condition, see
            `datagradient.data.conditions`; None if unknown.
        right: (n,) the right labels; None if nobody knows them.
    """

    inputs: Any
    labels: np.ndarray
    flipped: np.ndarray
    positions: np.ndarray
    n_classes: int
    seed: int
    dataset: str
    noise: float | str | None = None
    right: np.ndarray | None = None

    def take(self, places: np.ndarray) -> "TrainingSet":
        """Return the samples at some places of this set, in that order."""
        return replace(self, inputs=self.inputs[places], labels=self.labels[places], flipped=self.flipped[places],
                       positions=self.positions[places],
                       right=None if self.right is None else self.right[places])  # fmt: skip

    def with_more(self, inputs: Any, labels: np.ndarray) -> "TrainingSet":
        """Return this whole training part and m further samples, whose labels (m,) count as right.

        Their positions go on after those of the part. The inputs have the form of the part's own.
        """
        n, m = len(self.labels), len(labels)
        return replace(
            self, inputs=stacked([self.inputs, inputs]), labels=np.concatenate([self.labels, labels]),
            flipped=np.concatenate([self.flipped, np.zeros(m, dtype=bool)]),
            positions=np.concatenate([self.positions, np.arange(n, n + m)]),
            right=None if self.right is None else np.concatenate([self.right, labels]),
        )  # fmt: skip

    def relabelled(self, places: np.ndarray, new_labels: np.ndarray) -> "TrainingSet":
        """Return this set with other labels at some places."""
        labels = self.labels.copy()
        labels[places] = new_labels
        return replace(self, labels=labels, flipped=self.flipped if self.right is None else labels != self.right)

    @property
    def facts(self) -> dict[str, Any]:
        """Facts stored in files made from this training set, so that they are not joined with those of another one."""
        return {"dataset": self.dataset, "seed": self.seed, "noise": self.noise,
                "training_set": fingerprint(self.positions.astype(np.int64), self.labels.astype(np.int64))}  # fmt: skip


def with_validation(
    whole: TrainingSet, kept: np.ndarray, validation: Sequence[tuple[Any, np.ndarray]]
) -> tuple[TrainingSet, np.ndarray]:
    """Return a training part with the validation parts added, and the positions that are kept together with theirs."""
    n = len(whole.labels)
    for inputs, labels in validation:
        whole = whole.with_more(inputs, labels)
    return whole, np.concatenate([kept, np.arange(n, len(whole.labels))])


def stacked(parts: Sequence[Any]) -> Any:
    """Return the samples of several parts as one; they are arrays, sparse matrices or `Given`."""
    if isinstance(parts[0], Given):
        return joined(parts)
    return vstack(parts).tocsr() if hasattr(parts[0], "tocsr") else np.concatenate(parts)


def fingerprint(*arrays: np.ndarray) -> str:
    """Return a short hash of arrays' values, e.g. of a training set's positions and labels."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
