"""What an audit measures on rows with labels: accuracy, or the area under the ROC curve where a class is rare."""

from dataclasses import dataclass

import numpy as np

from datagradient.auditing.task import Task, different

ACCURACY, AREA = "accuracy", "area under the ROC curve"
LOPSIDED = 0.8  # share of the largest class from which on accuracy says little of the others


@dataclass(frozen=True)
class Measured:
    """A measure of predictions on n rows.

    Attributes:
        value: in shares of 1.
        shares: (n,): what each row adds to the value's random error; the variance is the sum of their squares.
    """

    value: float
    shares: np.ndarray


def accuracy(labels: np.ndarray, probabilities: np.ndarray) -> Measured:
    """Return the share of right predictions; probabilities are (n, classes)."""
    right = (probabilities.argmax(axis=1) == labels).astype(float)
    return Measured(float(right.mean()), (right - right.mean()) / len(right))


def area(labels: np.ndarray, probabilities: np.ndarray) -> Measured:
    """Return the area under the ROC curve, mean over the classes that have rows, each against all others.

    It does not depend on how probabilities are turned into labels. Where one class is rare, removing or relabelling
    rows of the other near the border moves predictions towards the rare class, and by itself that is no better model.
    The rows' shares are those of DeLong, DeLong and Clarke-Pearson (1988).
    """
    present = np.unique(labels)
    if len(present) == 2:
        present = present[1:]  # of two classes, both have the same area
    value, shares = 0.0, np.zeros(len(labels))
    for label in present:
        own, scores = labels == label, probabilities[:, label]
        above = np.empty(
            len(labels)
        )  # of a row: the share of the other side's rows that it stands on the right side of
        ranks = _ranks(scores)
        above[own] = (ranks[own] - _ranks(scores[own])) / (~own).sum()
        above[~own] = 1 - (ranks[~own] - _ranks(scores[~own])) / own.sum()
        mean = above[own].mean()
        value += mean / len(present)
        shares += (above - mean) / np.where(own, own.sum(), (~own).sum()) / len(present)
    return Measured(float(value), shares)


def _ranks(values: np.ndarray) -> np.ndarray:
    from scipy.stats import rankdata

    return rankdata(values)


MEASURES = {ACCURACY: accuracy, AREA: area}


def suited(task: Task, rows: list[np.ndarray]) -> str:
    """Return the measure that suits the labels of a task; `rows` are the positions that are measured together."""
    counts = np.bincount(task.dataset.labels[task.rows])
    several = all(len(np.unique(task.dataset.labels[together])) > 1 for together in rows)
    return AREA if counts.max() >= LOPSIDED * counts.sum() and several else ACCURACY


def difference(
    task: Task, rows: list[np.ndarray], these: list[Measured], others: list[Measured]
) -> tuple[float, float]:  # fmt: skip
    """Return the mean of these measures less the others', and its standard error by the rows.

    Args:
        task: the audit.
        rows: positions of the rows of each pair of measures; the same row may be measured several times.
        these: of the rows, one after the other.
        others: of the same rows.
    """
    mean = float(np.mean([this.value - other.value for this, other in zip(these, others, strict=True)]))
    shares = np.concatenate([this.shares - other.shares for this, other in zip(these, others, strict=True)])
    return mean, standard_error(task, np.concatenate(rows), shares / len(rows))


def standard_error(task: Task, rows: np.ndarray, shares: np.ndarray) -> float:
    """Return the standard error of a value by what each row adds to it (`Measured.shares`); copies err together."""
    of_sample = np.bincount(different(task.dataset, rows), shares)
    n = len(of_sample)
    return float(np.sqrt((of_sample**2).sum() * n / max(n - 1, 1)))
