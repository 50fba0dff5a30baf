"""What an audit finds before any model: duplicates, and columns that give the label away."""

import warnings
from typing import Any

import numpy as np

from datagradient.auditing.task import different
from datagradient.data.columns import read_columns
from datagradient.data.record import Dataset

GIVES_AWAY = 0.99  # mean accuracy over classes of a column alone, from which on it gives the label away
MOST_ROWS = 5000  # that a column is tried on
LISTED = 100  # groups of rows in messages and files


def duplicates(dataset: Dataset, rows: np.ndarray) -> dict[str, Any]:
    """Return how many rows repeat another, and groups of rows with the same sample and different labels.

    Args:
        dataset: the data set.
        rows: positions to look at.
    """
    groups = different(dataset, rows)
    counts = np.bincount(groups)
    kinds = np.unique(np.stack([groups, dataset.labels[rows]]), axis=1)[0]
    conflicting = np.bincount(kinds, minlength=len(counts)) > 1
    order = np.argsort(groups, kind="stable")
    order = order[conflicting[groups[order]]]
    listed = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1) if len(order) else []
    return {"rows": int((counts - 1).sum()), "conflicting_rows": int(counts[conflicting].sum()),
            "conflicting": [rows[places].tolist() for places in listed[:LISTED]]}  # fmt: skip


def leaks(dataset: Dataset, rows: np.ndarray, seed: int) -> list[dict[str, Any]]:
    """Return the columns of a table from which alone the label can be told, with the mean accuracy over classes."""
    from sklearn.model_selection import cross_val_predict
    from sklearn.tree import DecisionTreeClassifier

    if dataset.modality != "table":
        return []
    if len(rows) > MOST_ROWS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, MOST_ROWS, replace=False))
    labels, table = dataset.labels[rows], dataset.samples.iloc[rows]
    classes, found = np.unique(labels), []
    tree = DecisionTreeClassifier(max_leaf_nodes=max(8, 2 * len(classes)), random_state=0)
    for column in read_columns(table, dataset.kinds, dataset.where):
        if column.values is None:
            continue
        values = column.values
        if column.kind == "category":
            values = _as_shares(values, labels)
            if values is None:
                continue
            right = values == labels
        else:
            filled = np.nan_to_num(values, nan=np.nanmin(values) - 1).astype(np.float32)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of a class with one row, which is said elsewhere
                right = cross_val_predict(tree, filled[:, None], labels, cv=2) == labels
        accuracy = float(np.mean([right[labels == label].mean() for label in classes]))
        if accuracy >= GIVES_AWAY:
            found.append({"column": column.name, "accuracy": accuracy})
    return found


def _as_shares(values: np.ndarray, labels: np.ndarray) -> np.ndarray | None:
    """Return for every row the most frequent label of the other rows with its word; None for columns of rare words."""
    import pandas as pd

    codes = pd.factorize(values)[0] + 1
    counts = np.zeros((codes.max() + 1, labels.max() + 1))
    if len(counts) * 3 > len(values):
        return None
    np.add.at(counts, (codes, labels), 1)
    others = counts[codes]
    others[np.arange(len(labels)), labels] -= 1
    return others.argmax(axis=1)
