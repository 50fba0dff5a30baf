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
        parts = _split(dataset, seed, plan)
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

    def divide(rows: np.ndarray, share: float | int, purpose: str) -> tuple[np.ndarray, np.ndarray]:
        from sklearn.model_selection import train_test_split

        # A seed for each division: with one for all, where a row ends up first says where it ends up next.
        state = integer_seed(seed, "split", dataset.name, purpose)
        first, second = train_test_split(rows, test_size=share, stratify=labels[rows], random_state=state)
        return np.sort(first), np.sort(second)

    def at_most(rows: np.ndarray, limit: int | None, purpose: str) -> np.ndarray:
        return rows if limit is None or limit >= len(rows) else divide(rows, limit, purpose)[1]

    if dataset.is_test is None:
        development, test = divide(np.arange(len(labels)), plan.test, "test")
    else:
        development, test = np.flatnonzero(~dataset.is_test), np.flatnonzero(dataset.is_test)
    development = at_most(development, plan.max_development, "fewer for development")
    test = at_most(test, plan.max_test, "fewer for test")
    train, validation = divide(development, plan.influence + plan.selection, "validation")
    share = plan.selection / (plan.influence + plan.selection)
    influence, selection = divide(validation, share, "selection")
    return dict(zip(PARTS, (train, influence, selection, test), strict=True))


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
