"""What an audit judges: the rows of a data set of one's own, divided into folds."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from datagradient.auditing.own import OwnClassifier
from datagradient.auditing.request import OWN
from datagradient.data.given import Given
from datagradient.data.record import Dataset, sample_keys
from datagradient.data.training_set import TrainingSet
from datagradient.errors import UserError
from datagradient.models import declared, family
from datagradient.refine.crossfit import stratified_folds
from datagradient.seeds import integer_seed

WHOLE = "whole"  # the part that holds all rows: what is proposed for the file comes from it
FEWEST = 10  # different rows that a class needs for its rows to be judged
# Checked labels needed for others to be judged by them; with fewer, only the folds judge.
ENOUGH_TRUSTED = 50


@dataclass(frozen=True)
class Task:
    """The rows that an audit judges, and how.

    Attributes:
        dataset: n samples with labels as given; every class has at least `FEWEST` different rows. Rows of ``is_test``
            are those of a test file: no model is trained on them.
        checked: (n,) bool, rows whose label was checked by hand. They are trained on as they are, and never removed.
        trusted: (n,) bool, those of them that others are judged by: not chosen for being doubtful.
        models: names of model families: the one that is refined, then those that judge beside it. `OWN` is that of
            the user's own classifier.
        settings: of each family's training.
        folds: number of outer folds.
        rounds: how often what is left is judged again.
        fraction: largest share of the rows that a round acts on; None: as many as the policy wants.
        seed: of everything random.
        own: the user's own classifier; None without.
        given: the n samples in the form in which it takes them; None without.
        before: (n,) labels as they were given before somebody checked them in a review, −1 for all other rows; None if
            nobody did.
    """

    dataset: Dataset
    checked: np.ndarray
    trusted: np.ndarray
    models: tuple[str, ...]
    settings: dict[str, dict[str, Any]]
    folds: int
    rounds: int
    fraction: float | None
    seed: int
    own: OwnClassifier | None = None
    given: Given | None = None
    before: np.ndarray | None = None

    def family(self, name: str) -> Any:
        """Return what trains and predicts by a name in `models`: a family's module, or the user's own classifier."""
        return self.own if name == OWN else family(name)

    def traits(self, name: str) -> Any:
        """Return what a family of that name declares of itself, or the user's own classifier does."""
        return self.own if name == OWN else declared(name)

    @cached_property
    def rows(self) -> np.ndarray:
        """The positions of the rows that are not of a test file."""
        is_test = self.dataset.is_test
        return np.arange(len(self.dataset.labels)) if is_test is None else np.flatnonzero(~is_test)

    @cached_property
    def test(self) -> np.ndarray:
        """The positions of the rows of a test file."""
        is_test = self.dataset.is_test
        return np.empty(0, dtype=np.int64) if is_test is None else np.flatnonzero(is_test)

    @cached_property
    def parts(self) -> dict[str, "Part"]:
        """All rows, then each fold held out of the others, by name."""
        nobody = np.empty(0, dtype=np.int64)
        parts = {WHOLE: self._part(self.rows, nobody)}
        folds = outer_folds(self.dataset, self.rows, self.folds, self.seed, self.checked[self.rows])
        for number, held in enumerate(folds, start=1):
            parts[f"fold-{number}"] = self._part(np.setdiff1d(self.rows, held), held)
        return parts

    def _part(self, rest: np.ndarray, held: np.ndarray) -> "Part":
        return Part(rest[~self.checked[rest]], rest[self.checked[rest]], held)


@dataclass(frozen=True)
class Part:
    """Positions of the rows that are judged, of those whose labels were checked, and of those held out."""

    judged: np.ndarray
    known: np.ndarray
    held: np.ndarray

    @property
    def trained(self) -> np.ndarray:
        """The rows that the unrefined model is trained on."""
        return np.concatenate([self.judged, self.known])


def training_set(task: Task, inputs: Any, rows: np.ndarray) -> TrainingSet:
    """Return some rows as a training set, labels as given."""
    labels = task.dataset.labels[rows]
    return TrainingSet(inputs, labels, np.zeros(len(rows), dtype=bool), np.arange(len(rows)),
                       len(task.dataset.class_names), task.seed, task.dataset.name)  # fmt: skip


def different(dataset: Dataset, rows: np.ndarray | None = None) -> np.ndarray:
    """Return for every row the number of its sample among the different samples (n,), in order of appearance."""
    import pandas as pd

    keys = sample_keys(dataset)
    return pd.factorize(keys if rows is None else keys[rows])[0]


def outer_folds(
    dataset: Dataset, rows: np.ndarray, folds: int, seed: int, checked: np.ndarray | None = None
) -> list[np.ndarray]:
    """Divide rows into folds, classes in equal proportion; rows with the same sample are in the same fold.

    A copy of a held-out row would otherwise tell what its label is. Rows whose label was checked, if any, are divided
    by themselves, so that every fold leaves as many of a class to be judged.
    """
    strata = 2 * dataset.labels[rows] + (0 if checked is None else checked)
    samples = different(dataset, rows)
    most = max(len(np.unique(samples[strata == stratum])) for stratum in np.unique(strata))
    if folds > most:
        raise UserError(f"--folds is {folds}, and no class has more than {most} different rows: give {most} or fewer")
    found = stratified_folds(strata, folds, integer_seed(seed, "outer folds"), samples)
    return [rows[held] for held in found]


def drawn_rows(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return the positions of about so many rows, classes in proportion, but `FEWEST` of each class that has them.

    Args:
        labels: (n,) integers.
        count: at least the number of classes.
        seed: of the draw.
    """
    random, found = np.random.default_rng(seed), [np.empty(0, dtype=int)]  # there may be no row
    classes, sizes = np.unique(labels, return_counts=True)
    shares = count * sizes / len(labels)
    wanted = np.floor(shares).astype(int)
    wanted[np.argsort(wanted - shares, kind="stable")[: count - wanted.sum()]] += 1  # the largest remainders
    for label, size in zip(classes, np.maximum(wanted, np.minimum(FEWEST, sizes)), strict=True):
        found.append(random.permutation(np.flatnonzero(labels == label))[:size])
    return np.sort(np.concatenate(found))


def different_by_class(dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    """Return how many different samples each class has among some rows; with fewer than `FEWEST` it is not judged."""
    pairs = np.unique(np.stack([dataset.labels[rows], different(dataset, rows)]), axis=1)
    return np.bincount(pairs[0], minlength=len(dataset.class_names))
