"""Stratified splits of a data set by seed, and label noise on the training part."""

from dataclasses import dataclass

import numpy as np

from datagradient.data.record import Dataset
from datagradient.errors import UserError
from datagradient.seeds import generator, integer_seed

PARTS = ("train", "influence", "selection", "test")


@dataclass(frozen=True)
class SplitPlan:
    """How to divide a data set.

    Attributes:
        influence: share of the development samples that influence is computed against.
        selection: share of the development samples that decisions are made on.
        test: share of all samples that is the test set, where there is no official one.
        max_development: at most so many samples outside the test set; None for all.
        max_test: at most so many test samples; None for all.
    """

    influence: float = 0.1
    selection: float = 0.1
    test: float = 0.2
    max_development: int | None = None
    max_test: int | None = None


def split(dataset: Dataset, seed: int, plan: SplitPlan) -> dict[str, np.ndarray]:
    """Divide a data set into disjoint parts with the classes in equal proportion.

    An official test set stays the test set for every seed; without one, the seed draws it.

    Returns:
        Row numbers, sorted, by the names of `PARTS`: the training part, the validation part that
        influence is computed against, the validation part that decisions are made on, the test part.

    Raises:
        UserError: a class has too few samples to stand in every part.
    """
    try:
        parts = _split(dataset, integer_seed(seed, "split", dataset.name), plan)
    except ValueError as error:  # scikit-learn's word on classes that are too small to divide
        raise UserError(f"data set {dataset.name}: cannot be divided: {error}") from None
    for name, rows in parts.items():
        missing = set(range(len(dataset.class_names))) - set(dataset.labels[rows])
        if missing:
            names = ", ".join(dataset.class_names[label] for label in sorted(missing))
            raise UserError(f"data set {dataset.name}: no sample of class {names} in the {name} part; enlarge it")
    return parts


def _split(dataset: Dataset, seed: int, plan: SplitPlan) -> dict[str, np.ndarray]:
    labels = dataset.labels
    if dataset.is_test is None:
        development, test = _divide(np.arange(len(labels)), labels, plan.test, seed)
    else:
        development, test = np.flatnonzero(~dataset.is_test), np.flatnonzero(dataset.is_test)
    development = _at_most(development, labels, plan.max_development, seed)
    test = _at_most(test, labels, plan.max_test, seed)
    train, validation = _divide(development, labels, plan.influence + plan.selection, seed)
    share = plan.selection / (plan.influence + plan.selection)
    influence, selection = _divide(validation, labels, share, seed)
    return dict(zip(PARTS, (train, influence, selection, test), strict=True))


def _divide(rows: np.ndarray, labels: np.ndarray, share: float | int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.model_selection import train_test_split

    first, second = train_test_split(rows, test_size=share, stratify=labels[rows], random_state=seed)
    return np.sort(first), np.sort(second)


def _at_most(rows: np.ndarray, labels: np.ndarray, limit: int | None, seed: int) -> np.ndarray:
    return rows if limit is None or limit >= len(rows) else _divide(rows, labels, limit, seed)[1]


def flip_labels(labels: np.ndarray, rate: float, n_classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Replace the labels of exactly ``round(rate · n)`` samples by another class, drawn uniformly.

    Returns:
        The noisy labels, and the bool mask of the samples whose label was changed.
    """
    random = generator(seed, "noise", rate)
    flipped = np.zeros(len(labels), dtype=bool)
    flipped[random.permutation(len(labels))[: round(rate * len(labels))]] = True
    shift = random.integers(1, n_classes, size=len(labels))
    return np.where(flipped, (labels + shift) % n_classes, labels), flipped
