"""Labels in the form that every problem takes: class numbers that start at 0."""

from typing import Any

import numpy as np

from datagradient.influence.solvers import SolverError


def class_numbers(labels: Any, n: int, n_classes: int, part: str) -> np.ndarray:
    """Return the labels of n samples as an array of class numbers, or refuse them.

    Args:
        labels: (n,), integers 0 … n_classes − 1.
        n: number of samples.
        n_classes: number of classes of the model.
        part: ``"training"`` or ``"validation"``, for the message.

    Raises:
        SolverError: the shape or type is wrong, or a label is not a class.
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
    """Return the labels of n samples as integers for one logit; floats 0 and 1 and the shape (n, 1) are accepted."""
    labels = np.asarray(labels)
    if labels.shape == (n, 1):
        labels = labels[:, 0]
    if labels.dtype.kind == "b" or (labels.dtype.kind == "f" and np.isin(labels, (0, 1)).all()):
        labels = labels.astype(np.int64)
    return class_numbers(labels, n, 2, part)


def count(samples: Any) -> int:
    """Return the number of samples, dense or sparse."""
    return samples.shape[0] if hasattr(samples, "shape") else len(samples)
