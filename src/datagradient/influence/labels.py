"""Labels as every problem takes them: class numbers from 0 on."""

from typing import Any

import numpy as np

from datagradient.influence.solvers import SolverError


def class_numbers(labels: Any, n: int, n_classes: int, part: str) -> np.ndarray:
    """Return the labels of n samples as an array of class numbers, or refuse them.

    Args:
        labels: (n,), integers 0 … n_classes − 1.
        n: number of samples.
        n_classes: that the model knows.
        part: ``"training"`` or ``"validation"``, for the message.

    Raises:
        SolverError: another shape or type, or a label that is no class.
    """
    labels = np.asarray(labels)
    if labels.shape != (n,):
        raise SolverError(f"{part} labels have the shape {labels.shape} for {n} samples; pass one label a sample")
    legal = f"the model's {n_classes} classes are 0 to {n_classes - 1}"
    remedy = "pass positions in the model's sorted classes, np.searchsorted(classes, labels)"
    if labels.dtype.kind not in "iu":
        sample = int(np.argmax(np.isnan(labels))) if labels.dtype.kind == "f" else 0
        value = f", {labels[sample]} at sample {sample}" if n else ""
        raise SolverError(f"{part} labels are of type {labels.dtype}{value}; {legal}, as integers: {remedy}")
    wrong = (labels < 0) | (labels >= n_classes)
    if wrong.any():
        sample = int(np.argmax(wrong))
        raise SolverError(f"{part} label {labels[sample]} at sample {sample} is no class: {legal}; {remedy}")
    return labels


def binary_numbers(labels: Any, n: int, part: str) -> np.ndarray:
    """Return the labels of n samples as integers for one logit: also takes floats 0 and 1, and the shape (n, 1)."""
    labels = np.asarray(labels)
    if labels.shape == (n, 1):
        labels = labels[:, 0]
    if labels.dtype.kind == "f" and np.isin(labels, (0, 1)).all():
        labels = labels.astype(np.int64)
    return class_numbers(labels, n, 2, part)


def count(samples: Any) -> int:
    """Return how many samples there are, sparse ones included."""
    return samples.shape[0] if hasattr(samples, "shape") else len(samples)
