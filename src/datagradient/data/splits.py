"""Stratified splits of a data set by seed, and label noise on the training part."""

import math
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

    Raises:
        UserError: a share is not in (0, 1), a limit is no whole number above 0, or nothing is left to train on.
    """

    influence: float = 0.1
    selection: float = 0.1
    test: float = 0.2
    max_development: int | None = None
    max_test: int | None = None

    def __post_init__(self) -> None:
        """Refuse shares and limits that divide nothing."""
        for name in ("influence", "selection", "test"):
            share = getattr(self, name)
            if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share < 1:
                raise UserError(f"split plan: {name} is {share!r}: give a number in (0, 1)")
        for name in ("max_development", "max_test"):
            limit = getattr(self, name)
            if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
                raise UserError(f"split plan: {name} is {limit!r}: give a whole number above 0, or null for all")
        if self.validation >= 1:
            raise UserError(f"split plan: influence {self.influence} and selection {self.selection} leave nothing to "
                            "train on: their sum must be below 1")  # fmt: skip

    @property
    def validation(self) -> float:
        """Share of the development samples that is not trained on."""
        return self.influence + self.selection


def split(dataset: Dataset, seed: int, plan: SplitPlan) -> dict[str, np.ndarray]:
    """Divide a data set into disjoint parts with the classes in equal proportion.

    An official test set stays the test set for every seed; without one, the seed draws it.

    Returns:
        Row numbers, sorted, by the names of `PARTS`: the training part, the validation part that
        influence is computed against, the validation part that decisions are made on, the test part.

    Raises:
        UserError: a part or a class is so small that some seed would leave a part without the class.
    """
    _check_sizes(dataset, plan)
    labels, k = dataset.labels, len(dataset.class_names)

    def divide(rows: np.ndarray, share: float | int, purpose: str, strata: bool = True) -> list[np.ndarray]:
        from sklearn.model_selection import train_test_split

        # A seed for each division: with one for all, where a row ends up first says where it ends up next.
        state = integer_seed(seed, "split", dataset.name, purpose)
        stratify = labels[rows] if strata else None
        return [np.sort(p) for p in train_test_split(rows, test_size=share, stratify=stratify, random_state=state)]

    def at_most(rows: np.ndarray, limit: int | None, purpose: str) -> np.ndarray:
        if limit is None or limit >= len(rows):
            return rows
        return divide(rows, limit, purpose, strata=len(rows) - limit >= k)[1]  # one of each class cannot be left out

    if dataset.is_test is None:
        development, test = divide(np.arange(len(labels)), plan.test, "test")
    else:
        development, test = np.flatnonzero(~dataset.is_test), np.flatnonzero(dataset.is_test)
    development = at_most(development, plan.max_development, "fewer for development")
    test = at_most(test, plan.max_test, "fewer for test")
    train, validation = divide(development, plan.validation, "validation")
    influence, selection = divide(validation, plan.selection / plan.validation, "selection")
    return dict(zip(PARTS, (train, influence, selection, test), strict=True))


def _check_sizes(dataset: Dataset, plan: SplitPlan) -> None:
    """Refuse a data set that the plan may divide so that a part lacks a class; nothing depends on the seed."""
    k, n = len(dataset.class_names), len(dataset.labels)
    is_test = np.zeros(n, dtype=bool) if dataset.is_test is None else dataset.is_test
    counts, tested = (np.bincount(dataset.labels[rows], minlength=k).tolist() for rows in (~is_test, is_test))

    def least(outside: int, in_test: int) -> dict[str, tuple[int, int]]:
        if dataset.is_test is None:
            pools = _divided((n, outside), math.ceil(plan.test * n))
        else:
            pools = (n - sum(tested), outside), (sum(tested), in_test)
        return _least(*pools, plan, k)

    for part, (size, _) in least(0, 0).items():
        if size < k:
            limit = "max_test" if part == "test" else "max_development"
            raise UserError(f"{dataset.where}: the split plan gives the {part} part {max(size, 0)} of {n} samples, too "
                            f"few for {k} classes: enlarge its share, or {limit}, or bring more samples")  # fmt: skip
    small = [y for y in range(k) if any(count < 1 for _, count in least(counts[y], tested[y]).values())]
    if small:
        needed = next((m for m in range(1, n) if all(count > 0 for _, count in least(m, m).values())), n)
        if dataset.is_test is None:
            shown, where = [f"{dataset.class_names[y]} has {_rows(counts[y])}" for y in small], ""
        else:
            shown = [f"{dataset.class_names[y]} has {_rows(counts[y])}, and {tested[y]} in the official test set"
                     for y in small]  # fmt: skip
            enough = next((m for m in range(1, n) if least(m, m)["test"][1] > 0), n)
            where = f" outside the official test set and {enough} in it"
        raise UserError(f"{dataset.where}: class {', class '.join(shown)}: to stand in every part of this split plan a "
                        f"class needs {_rows(needed)}{where}: bring more, or join the class with another")  # fmt: skip


def _rows(count: int) -> str:
    return f"{count} row{'s' * (count != 1)}"


def _least(development: tuple[int, int], test: tuple[int, int], plan: SplitPlan, k: int) -> dict[str, tuple[int, int]]:
    """Return the size of every part, and the fewest rows of one class that stratification can put there.

    Args:
        development: how many samples there are outside the test set, and how many of them are of the class.
        test: the same of the test set.
        plan: how they are divided.
        k: number of classes.
    """
    development, test = _cut(development, plan.max_development, k), _cut(test, plan.max_test, k)
    train, validation = _divided(development, math.ceil(plan.validation * development[0]))
    share = plan.selection / plan.validation
    influence, selection = _divided(validation, math.ceil(share * validation[0]))
    return dict(zip(PARTS, (train, influence, selection, test), strict=True))


def _divided(pool: tuple[int, int], second: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Divide a pool; each side has at least its share of the class, rounded down. A class of one is not divided."""
    size, count = pool
    first = size - second
    if count < 2 or size < 1:
        return (first, 0), (second, 0)
    return (first, count * first // size), (second, count * second // size)


def _cut(pool: tuple[int, int], limit: int | None, k: int) -> tuple[int, int]:
    """Draw at most so many of a pool."""
    size, count = pool
    if limit is None or limit >= size:
        return pool
    if size - limit < k:  # these are left out whatever their class
        return limit, max(0, count - (size - limit))
    return _divided(pool, limit)[1]


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
