"""Stratified splits of a data set by seed, and label noise."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from datagradient.data.record import Dataset
from datagradient.errors import UserError
from datagradient.seeds import generator, integer_seed

PARTS = ("train", "influence", "selection", "test")
OWNED = PARTS[:3]  # whose labels may be wrong
# What each part's flips are drawn for, so that the parts share no random numbers.
FLIPS = {"train": "noise", "influence": "noise of influence", "selection": "noise of selection"}
# The parts that lack a class with a single row, by the purpose of the division.
DIVIDED = {
    "test": "all parts but one",
    "fewer for development": "the train, influence or selection part",
    "fewer for test": "the test part",
    "validation": "the train, influence or selection part",
    "selection": "the influence or selection part",
}


@dataclass(frozen=True)
class SplitPlan:
    """How to divide a data set.

    Attributes:
        influence: share of the development samples that influence is computed against.
        selection: share of the development samples that decisions are made on.
        test: share of all samples used as the test set if there is no official one.
        max_development: largest number of samples outside the test set; None for all.
        max_test: largest number of test samples; None for all.

    Raises:
        UserError: a share is not in (0, 1), a limit is not a whole number above 0, or nothing is left to train on.
    """

    influence: float = 0.1
    selection: float = 0.1
    test: float = 0.2
    max_development: int | None = None
    max_test: int | None = None

    def __post_init__(self) -> None:
        """Refuse shares and limits that do not describe a division."""
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

    An official test set is the test set for every seed; without one, the seed draws the test set.

    Returns:
        Row numbers, sorted, by the names of `PARTS`: the training part, the validation part that
        influence is computed against, the validation part that decisions are made on, the test part.

    Raises:
        UserError: a part or a class is so small that a part would lack the class.
    """
    _check_sizes(dataset, plan)
    labels, k = dataset.labels, len(dataset.class_names)

    def divide(rows: np.ndarray, share: float | int, purpose: str, strata: bool = True) -> list[np.ndarray]:
        from sklearn.model_selection import train_test_split

        if strata:  # one row cannot be divided
            _check_classes(np.bincount(labels[rows], minlength=k) == 1, DIVIDED[purpose], dataset, seed, plan)
        # One seed per division: with a common seed, a row's place in one division would determine the next.
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
    parts = dict(zip(PARTS, (train, influence, selection, test), strict=True))
    for name, rows in parts.items():
        _check_classes(np.bincount(labels[rows], minlength=k) == 0, f"the {name} part", dataset, seed, plan)
    return parts


def _check_sizes(dataset: Dataset, plan: SplitPlan) -> None:
    """Refuse a plan whose parts have fewer rows than there are classes."""
    k, n = len(dataset.class_names), len(dataset.labels)
    for part, (size, _) in _least_of(dataset, plan, 0, 0).items():
        if size < k:
            limit = "max_test" if part == "test" else "max_development"
            raise UserError(f"{dataset.where}: the split plan gives the {part} part {max(size, 0)} of {n} samples, too "
                            f"few for {k} classes: enlarge its share, or {limit}, or bring more samples")  # fmt: skip


def _check_classes(missing: np.ndarray, where: str, dataset: Dataset, seed: int, plan: SplitPlan) -> None:
    """Refuse a split in which a part lacks a class.

    Args:
        missing: bool array (number of classes,).
        where: the part or parts that lack a class.
        dataset: the data set that is divided.
        seed: the seed of the split; if shares are not whole rows, it may decide which part gets a row.
        plan: how the data set is divided.
    """
    if not missing.any():
        return
    k, official = len(dataset.class_names), dataset.is_test is not None
    tested = np.bincount(dataset.labels[dataset.is_test] if official else [], minlength=k)
    counts = np.bincount(dataset.labels, minlength=k) - tested
    needed, enough = _needed(dataset, plan)
    shown = [f"class {dataset.class_names[y]} has {_rows(counts[y])}"
             + (f" outside the official test set and {tested[y]} in it" if official else "")
             for y in range(k)]  # fmt: skip
    small = (counts < needed) | (tested < enough if official else False)
    others = [shown[y] for y in np.flatnonzero(small & ~missing)]
    raise UserError(
        f"{dataset.where}: {', '.join(shown[y] for y in np.flatnonzero(missing))}, and with seed {seed} is missing "
        f"from {where}: whatever the seed, every part contains a class that has {_rows(needed)}"
        + (f" outside the official test set and {enough} in it" if official else "")
        + (f" ({', '.join(others)}, too)" if others else "")
        + ": bring more rows of it, leave it out, join it with another, or enlarge shares or limits of the split plan"
    )


def _needed(dataset: Dataset, plan: SplitPlan) -> tuple[int, int]:
    """Return the number of rows of a class that is enough for any seed, and that in an official test set."""
    n = len(dataset.labels)

    def first(parts: tuple[str, ...]) -> int:
        return next((m for m in range(1, n) if all(_least_of(dataset, plan, m, m)[name][1] > 0 for name in parts)), n)

    return first(PARTS if dataset.is_test is None else PARTS[:3]), first(("test",))


def _least_of(dataset: Dataset, plan: SplitPlan, outside: int, in_test: int) -> dict[str, tuple[int, int]]:
    """Return `_least` for a class with `outside` rows outside the test set and `in_test` in an official test set."""
    k, n = len(dataset.class_names), len(dataset.labels)
    if dataset.is_test is None:
        return _least(*_divided((n, outside), math.ceil(plan.test * n)), plan, k)
    tested = int(dataset.is_test.sum())
    return _least((n - tested, outside), (tested, in_test), plan, k)


def _rows(count: int) -> str:
    return f"{count} row{'' if count == 1 else 's'}"


def _least(development: tuple[int, int], test: tuple[int, int], plan: SplitPlan, k: int) -> dict[str, tuple[int, int]]:
    """Return the size of every part, and the smallest number of rows of a class that stratification can put there.

    Args:
        development: number of samples outside the test set, and number of those in the class.
        test: the same for the test set.
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
    """Draw at most `limit` samples of a pool."""
    size, count = pool
    if limit is None or limit >= size:
        return pool
    if size - limit < k:  # the rest is left out whatever its class
        return limit, max(0, count - (size - limit))
    return _divided(pool, limit)[1]


def flip_labels(
    labels: np.ndarray, rate: float, n_classes: int, seed: int, part: str = "train"
) -> tuple[np.ndarray, np.ndarray]:
    """Replace the labels of exactly ``round(rate · n)`` samples of a part by another class, drawn uniformly.

    Returns:
        The noisy labels, and the bool mask of the samples whose label was changed.
    """
    random = generator(seed, FLIPS[part], rate)
    flipped = np.zeros(len(labels), dtype=bool)
    flipped[random.permutation(len(labels))[: round(rate * len(labels))]] = True
    shift = random.integers(1, n_classes, size=len(labels))
    return np.where(flipped, (labels + shift) % n_classes, labels), flipped


def flipped_parts(
    right: Mapping[str, np.ndarray], rate: float, n_classes: int, seed: int, untrusted: bool
) -> dict[str, np.ndarray]:
    """Return the labels of the parts `OWNED` as the owner of the data has them: those of the training part flipped.

    Args:
        right: the right labels of these parts, by name.
        rate: share of the labels of a part that are flipped.
        n_classes: number of classes.
        seed: the seed of the run.
        untrusted: whether the labels of the two validation parts are flipped at the same rate.
    """
    wrong = OWNED if untrusted else OWNED[:1]
    return {part: flip_labels(right[part], rate, n_classes, seed, part)[0] if part in wrong else right[part]
            for part in OWNED}  # fmt: skip
